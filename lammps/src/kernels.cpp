// The kernels for one instruction set, named by DISTILL_ACE_TARGET.

#include <type_traits>

#include "distill_ace_kernels.hpp"

#define DISTILL_JOIN(a, b) a##b
#define DISTILL_NAME(prefix, target) DISTILL_JOIN(prefix, target)

namespace distill {

Kernels<double> DISTILL_NAME(double_kernels_, DISTILL_ACE_TARGET)() {
  return {distill_kernels::workspace_bytes<double>, distill_kernels::evaluate<double>};
}

Kernels<float> DISTILL_NAME(float_kernels_, DISTILL_ACE_TARGET)() {
  return {distill_kernels::workspace_bytes<float>, distill_kernels::evaluate<float>};
}

}  // namespace distill
