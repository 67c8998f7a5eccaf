"""Runs the plain part of Julia sources in Python: their numbers can be tested without Julia.

Functions, structs, loops, ranges, arrays counted from 1, broadcasting and comprehensions are
translated into Python, statement by statement; calls into C are not. A name that is not defined, or
syntax beyond these, is an error.
"""

import re
from types import SimpleNamespace

import tree_sitter
import tree_sitter_julia
from julia_expressions import Expressions, python_name
from julia_runtime import RUNTIME

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_julia.language()))


def run(paths, **builtins):
    """The definitions of Julia files as attributes; `builtins` replace some, or add to them."""
    space = {**RUNTIME, "__name__": "julia"}
    for path in paths:
        tree = _PARSER.parse(path.read_bytes())
        code = _Translation().module(tree.root_node)
        exec(compile(code, f"{path.name} as Python", "exec"), space)
    space.update(builtins)
    return SimpleNamespace(**{k: v for k, v in space.items() if not k.startswith("__")})


class _Translation(Expressions):
    """Julia syntax as Python text."""

    def __init__(self):
        self.count = 0
        self.before = []

    def module(self, node):
        lines = []
        for child in node.named_children:
            lines += self.statement(child, result=False)
        return "\n".join(lines)

    def fresh(self):
        self.count += 1
        return f"_t{self.count}"

    def block(self, nodes, *, result, indent="    "):
        lines = []
        nodes = [n for n in nodes if n.type != "line_comment"]
        for k, node in enumerate(nodes):
            lines += self.statement(node, result=result and k == len(nodes) - 1)
        return [indent + line for line in lines or ["pass"]]

    def statement(self, node, *, result):
        """Lines of a statement; with `result`, of one whose value the function returns."""
        outer, self.before = self.before, []
        lines = self._statement(node, result)
        lines = self.before + lines
        self.before = outer
        return lines

    def _statement(self, node, result):
        kind, named = node.type, node.named_children
        if kind in ("line_comment", "string_literal", "import_statement", "using_statement"):
            return [] if not result else [f"return {self.expression(node)}"]
        if kind == "function_definition":
            return self.function(named[0], named[1:])
        if kind == "assignment" and named[0].type in ("call_expression", "where_expression"):
            return self.function(named[0], [named[2]])
        if kind == "const_statement":
            return self.statement(named[0], result=False)
        if kind in ("struct_definition", "abstract_definition"):
            return self.struct(node)
        if kind == "return_statement":
            return [f"return {self.expression(named[0]) if named else None}"]
        if kind == "continue_statement":
            return ["continue"]
        if kind == "for_statement":
            bindings = [n for n in named if n.type == "for_binding"]
            body = [n for n in named if n.type != "for_binding"]
            lines, pad = [], ""
            for binding in bindings:
                target, _, values = binding.named_children
                lines.append(f"{pad}for {self.target(target)} in {self.iterated(values)}:")
                pad += "    "
            return lines + self.block(body, result=False, indent=pad)
        if kind == "if_statement":
            return self.conditional(node, result)
        if kind == "binary_expression" and named[1].text in (b"&&", b"||") and not result:
            no = "not " * (named[1].text == b"||")
            inner = self.block([named[2]], result=False)
            return [f"if {no}({self.expression(named[0])}):", *inner]
        if kind == "assignment":
            return self.assignment(named[0], self.expression(named[2]))
        if kind == "compound_assignment_expression":
            return self.compound(node)
        if kind == "parenthesized_expression" and not result:
            return self.block(named, result=False, indent="")
        return [f"{'return ' * result}{self.expression(node)}"]

    def conditional(self, node, result):
        lines = [f"if {self.expression(node.named_children[0])}:"]
        rest = node.named_children[1:]
        body = [n for n in rest if n.type not in ("else_clause", "elseif_clause")]
        lines += self.block(body, result=result)
        for clause in rest[len(body) :]:
            inner = clause.named_children
            if clause.type == "elseif_clause":
                lines.append(f"elif {self.expression(inner[0])}:")
                inner = inner[1:]
            else:
                lines.append("else:")
            lines += self.block(inner, result=result)
        return lines

    def function(self, signature, body):
        types = {}
        if signature.type == "signature":
            signature = signature.named_children[0]
        if signature.type == "where_expression":
            variables = signature.named_children[-1].text.decode().strip("{}").split(",")
            types = dict.fromkeys(v.strip() for v in variables)
            signature = signature.named_children[0]
        name, arguments = signature.named_children
        parameters, checks, prologue = self.parameters(arguments, types)
        head = python_name(name.text.decode().split(".")[-1])
        inner = self.fresh()
        return [
            f"def {inner}({', '.join(parameters)}):",
            *("    " + line for line in prologue),
            *self.block(body, result=True),
            f"{head} = jl_add_method(globals(), '{head}', {inner}, [{', '.join(checks)}])",
        ]

    def parameters(self, arguments, types):
        found, checks, prologue, keywords = [], [], [], False
        for node in arguments.children:
            text = node.text.decode()
            if text == ";":
                keywords = True
                found.append("*")
            elif node.type == "splat_expression":
                found = found[:-1] if found[-1:] == ["*"] else found
                found.append(f"**{python_name(node.named_children[0].text.decode())}")
            elif node.type in ("named_argument", "assignment", "optional_parameter"):
                parts = node.named_children
                found.append(f"{python_name(parts[0].text.decode())}={self.expression(parts[-1])}")
            elif node.type == "identifier":
                found.append(python_name(text))
                checks += [] if keywords else ["None"]
            elif node.type in ("typed_expression", "typed_parameter", "unary_typed_expression"):
                parts = node.named_children
                kind = parts[-1].text.decode()
                name = python_name(parts[0].text.decode()) if len(parts) > 1 else self.fresh()
                found.append(name)
                inner = re.fullmatch(r"(Type|Val)\{(\w+)\}", kind)
                if inner and inner[2] in types:
                    value = name if inner[1] == "Type" else f"{name}.value"
                    prologue.append(f"{inner[2]} = {value}")
                    checks.append("None")
                else:
                    checks.append(f"'{kind}'")
        return found, checks, prologue

    def struct(self, node):
        text = node.text.decode()
        head = re.search(r"(?:struct|abstract type)\s+(\w+)(?:\s*<:\s*(\w+))?", text)
        if text.startswith("abstract"):
            return [f"class {head[1]}: pass"]
        fields = re.findall(r"^\s+(\w+)::", text, flags=re.MULTILINE)
        return [
            f"class {head[1]}({head[2] or 'object'}):",
            f"    def __init__(self, {', '.join(fields)}):",
            *(f"        self.{field} = {field}" for field in fields),
        ]

    def target(self, node):
        if node.type == "identifier":
            return python_name(node.text.decode())
        return "(" + ", ".join(self.target(n) for n in node.named_children) + ",)"

    def assignment(self, target, value):
        if target.type == "identifier":
            return [f"{python_name(target.text.decode())} = {value}"]
        if target.type == "index_expression":
            array, index = target.named_children
            return [f"jl_put({self.expression(array)}, ({self.indices(index, array)}), {value})"]
        if target.type == "field_expression":
            return [f"{self.expression(target)} = {value}"]
        if target.type == "call_expression" or target.named_child_count == 0:
            raise SyntaxError(target.text.decode())
        one = self.fresh()
        lines = [f"{one} = tuple({value})"]
        for k, part in enumerate(target.named_children):
            lines += self.assignment(part, f"{one}[{k}]")
        return lines
