"""The teacher: a foundation model, fine-tuned with part of its weights frozen."""
