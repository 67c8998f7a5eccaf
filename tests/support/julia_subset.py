"""Runs the plain part of Julia sources in Python: their numbers can be tested without Julia.

Functions, structs, loops, ranges, arrays counted from 1, broadcasting and comprehensions are
translated into Python, statement by statement; calls into C are not. A name that is not defined, or
syntax beyond these, is an error.
"""

import re
from types import SimpleNamespace

import tree_sitter
import tree_sitter_julia
from julia_runtime import RUNTIME

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_julia.language()))
_BINARY = {"^": "**", "÷": "//", "===": "is", "≤": "<=", "≥": ">=", "&&": "and", "||": "or"}


def run(paths, **builtins):
    """The definitions of Julia files as attributes; `builtins` replace some, or add to them."""
    space = {**RUNTIME, "__name__": "julia"}
    for path in paths:
        tree = _PARSER.parse(path.read_bytes())
        code = _Translation().module(tree.root_node)
        exec(compile(code, f"{path.name} as Python", "exec"), space)
    space.update(builtins)
    return SimpleNamespace(**{k: v for k, v in space.items() if not k.startswith("__")})


def _name(text):
    return text.replace("!", "_b").replace("lambda", "lambda_")


class _Translation:
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
        head = _name(name.text.decode().split(".")[-1])
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
                found.append(f"**{_name(node.named_children[0].text.decode())}")
            elif node.type in ("named_argument", "assignment", "optional_parameter"):
                parts = node.named_children
                found.append(f"{_name(parts[0].text.decode())}={self.expression(parts[-1])}")
            elif node.type == "identifier":
                found.append(_name(text))
                checks += [] if keywords else ["None"]
            elif node.type in ("typed_expression", "typed_parameter", "unary_typed_expression"):
                parts = node.named_children
                kind = parts[-1].text.decode()
                name = _name(parts[0].text.decode()) if len(parts) > 1 else self.fresh()
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
            return _name(node.text.decode())
        return "(" + ", ".join(self.target(n) for n in node.named_children) + ",)"

    def assignment(self, target, value):
        if target.type == "identifier":
            return [f"{_name(target.text.decode())} = {value}"]
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

    def compound(self, node):
        target, sign, value = node.named_children
        op = sign.text.decode().removesuffix("=")
        if op == ".":
            return self.assignment(target, self.expression(value))
        old = self.expression(target)
        return self.assignment(target, self.binary(old, op, self.expression(value)))

    def binary(self, left, op, right):
        if op == "=>":
            return f"({left}, {right})"
        if op == "|>":
            return f"{right}({left})"
        if op == ".=>":
            return f"jl_broadcast(lambda a, b: (a, b), {left}, {right})"
        if op.startswith("."):
            op = op[1:]
            return f"jl_broadcast(lambda a, b: a {_BINARY.get(op, op)} b, {left}, {right})"
        if op == "isa":
            return f"isinstance({left}, {right})"
        if op == "*":
            return f"jl_times({left}, {right})"
        if op in ("==", "!="):
            return f"({'not ' * (op == '!=')}jl_equal({left}, {right}))"
        return f"({left} {_BINARY.get(op, op)} {right})"

    def iterated(self, node):
        return f"jl_each({self.expression(node)})"

    def indices(self, node, array):
        found = []
        for child in node.named_children:
            text = child.text.decode()
            if text == ":":
                found.append("slice(None)")
                continue
            code = self.expression(child)
            found.append(re.sub(r"\bend_\b", f"len({self.expression(array)})", code))
        return ", ".join(found) + ","

    def arguments(self, node):
        found, children = [], node.named_children
        loops = [n for n in children if n.type in ("for_clause", "if_clause")]
        if loops:
            found.append(f"({self.generator([children[0], *loops])})")
            children = children[1 + len(loops) :]
        after = [n.start_byte for n in node.children if n.text == b";"]
        for child in children:
            if child.type == "identifier" and after and child.start_byte > after[0]:
                name = _name(child.text.decode())
                found.append(f"{name}={name}")
            elif child.type == "named_argument":
                parts = child.named_children
                found.append(f"{_name(parts[0].text.decode())}={self.expression(parts[-1])}")
            elif child.type == "splat_expression":
                found.append(f"*jl_each({self.expression(child.named_children[0])})")
            elif child.type != "line_comment":
                found.append(self.expression(child))
        return found

    def generator(self, parts):
        body = self.expression(parts[0])
        clauses = []
        for part in parts[1:]:
            if part.type == "for_clause":
                for binding in part.named_children:
                    target, _, values = binding.named_children
                    clauses.append(f"for {self.target(target)} in {self.iterated(values)}")
            elif part.type == "if_clause":
                clauses.append(f"if {self.expression(part.named_children[0])}")
        return f"{body} {' '.join(clauses)}"

    def lambda_of(self, parameters, nodes):
        name = self.fresh()
        self.before += [f"def {name}({', '.join(parameters)}):", *self.nested(nodes)]
        return name

    def nested(self, nodes):
        kept, self.before = self.before, []
        lines = self.block(nodes, result=True)
        self.before = kept
        return lines

    def expression(self, node):
        method = getattr(self, f"on_{node.type}", None)
        if method is None:
            raise SyntaxError(f"{node.type}: {node.text.decode()[:80]}")
        return method(node)

    def on_identifier(self, node):
        return {"end": "end_", "Inf": "inf"}.get(node.text.decode(), _name(node.text.decode()))

    def on_integer_literal(self, node):
        text = node.text.decode()
        return str(int(text, 0))

    def on_float_literal(self, node):
        return node.text.decode()

    def on_boolean_literal(self, node):
        return node.text.decode().capitalize()

    def on_operator(self, node):
        return f"jl_operators[{node.text.decode()!r}]"

    def on_juxtaposition_expression(self, node):
        return f"jl_times({', '.join(self.expression(n) for n in node.named_children)})"

    def on_string_literal(self, node):
        parts = []
        for child in node.named_children:
            if child.type == "content":
                parts.append(repr(child.text.decode()))
            elif child.type == "string_interpolation":
                parts.append(f"jl_text({self.expression(child.named_children[0])})")
        return f"({' + '.join(parts) or repr('')})"

    def on_prefixed_string_literal(self, node):
        kind, text = node.text.decode().split('"', 1)
        if kind != "r":
            raise SyntaxError(node.text.decode())
        return f"jl_pattern({text[:-1]!r})"

    def on_parenthesized_expression(self, node):
        if any(n.type == "for_clause" for n in node.named_children):
            return f"({self.generator(node.named_children)})"
        return f"({self.expression(node.named_children[0])})"

    def on_tuple_expression(self, node):
        if node.type == "tuple_expression" and (
            node.children[1].text == b";" or node.named_children[0].type == "named_field"
        ):
            fields = [n.named_children or [n] for n in node.named_children]
            pairs = [f"{field[0].text.decode()}={self.expression(field[-1])}" for field in fields]
            return f"jl_named({', '.join(pairs)})"
        return "(" + "".join(f"{self.expression(n)}, " for n in node.named_children) + ")"

    on_open_tuple = on_tuple_expression

    def on_vector_expression(self, node):
        return f"jl_vector([{', '.join(self.arguments(node))}])"

    def on_matrix_expression(self, node):
        if all(
            row.type == "matrix_row" and row.named_child_count == 1 for row in node.named_children
        ):
            rows = [self.expression(row.named_children[0]) for row in node.named_children]
            return f"jl_stacked([{', '.join(rows)}])"
        raise SyntaxError(node.text.decode())

    def on_comprehension_expression(self, node):
        parts = node.named_children
        bindings = sum(p.named_child_count for p in parts if p.type == "for_clause")
        if bindings == 1:
            return f"jl_vector([{self.generator(parts)}])"
        targets, values = [], []
        for part in parts[1:]:
            for binding in part.named_children:
                targets.append(self.target(binding.named_children[0]))
                values.append(self.expression(binding.named_children[2]))
        body = self.expression(parts[0])
        return f"jl_grid(lambda {', '.join(targets)}: {body}, {', '.join(values)})"

    def on_range_expression(self, node):
        parts = [self.expression(n) for n in node.named_children]
        if len(parts) == 2 and node.named_children[0].type == "range_expression":
            return f"jl_steps({self.expression(node.named_children[0])[9:-1]}, {parts[1]})"
        return f"jl_steps({', '.join(parts)})"

    def on_ternary_expression(self, node):
        test, yes, no = (self.expression(n) for n in node.named_children)
        return f"({yes} if {test} else {no})"

    def on_if_statement(self, node):
        name = self.fresh()
        kept, self.before = self.before, []
        lines = ["    " + line for line in self.conditional(node, True)]
        self.before = [*kept, f"def {name}():", *lines]
        return f"{name}()"

    def on_unary_expression(self, node):
        sign, value = node.named_children
        sign = sign.text.decode()
        return f"({'not ' if sign == '!' else sign}{self.expression(value)})"

    def on_binary_expression(self, node):
        left, op, right = node.named_children
        if op.text in (b"||", b"&&") and right.type == "return_statement":
            raise SyntaxError(node.text.decode())
        if op.text == b"in":
            return f"({self.expression(left)} in {self.expression(right)})"
        one = self.expression(left)
        order = {b"<", b">", b"<=", b">="}
        if left.type == node.type and {op.text, left.named_children[1].text} <= order:
            # A chain of comparisons, which is one in Python too.
            one = one[1:-1]
        return self.binary(one, op.text.decode(), self.expression(right))

    def on_quote_expression(self, node):
        return repr(node.text.decode()[1:])

    def on_macrocall_expression(self, node):
        return f"jl_macro({node.text.decode()!r})"

    def on_adjoint_expression(self, node):
        return f"jl_transposed({self.expression(node.named_children[0])})"

    def on_index_expression(self, node):
        array, index = node.named_children
        if index.type == "comprehension_expression":
            return f"list({self.expression(index)})"
        if re.match(r"(Int|SVector|Pair|ACEpotentials\.AtomsData)\b", array.text.decode()):
            return f"[{', '.join(self.arguments(index))}]"
        return f"jl_at({self.expression(array)}, ({self.indices(index, array)}))"

    def on_field_expression(self, node):
        value, field = node.named_children
        return f"{self.expression(value)}.{_name(field.text.decode())}"

    def on_parametrized_type_expression(self, node):
        return self.expression(node.named_children[0])

    def on_broadcast_call_expression(self, node):
        function, arguments = node.named_children[0], node.named_children[1]
        found = self.arguments(arguments)
        if function.text == b"!":
            return f"jl_broadcast(jl_not, {', '.join(found)})"
        return f"jl_broadcast({self.expression(function)}, {', '.join(found)})"

    def on_arrow_function_expression(self, node):
        parameters, body = node.named_children
        names = (
            [_name(n.text.decode()) for n in parameters.named_children]
            if parameters.named_children
            else ([_name(parameters.text.decode())] if parameters.text != b"()" else [])
        )
        return f"(lambda {', '.join(names)}: {self.expression(body)})"

    def on_call_expression(self, node):
        function, arguments = node.named_children[:2]
        found = self.arguments(arguments)
        for clause in node.named_children[2:]:
            nodes = clause.named_children
            parameters = [_name(n.text.decode()) for n in nodes[0].named_children]
            found.insert(0, self.lambda_of(parameters, nodes[1:]))
        if function.type == "parenthesized_expression" and function.text == b"(!)":
            return f"(not {found[0]})"
        if function.type == "operator":
            return f"jl_operators[{function.text.decode()!r}]({', '.join(found)})"
        return f"{self.expression(function)}({', '.join(found)})"
