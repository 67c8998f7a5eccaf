"""Julia expressions as Python text: one method for each kind of node."""

import re

_BINARY = {"^": "**", "÷": "//", "===": "is", "≤": "<=", "≥": ">=", "&&": "and", "||": "or"}


def python_name(text):
    return text.replace("!", "_b").replace("lambda", "lambda_")


class Expressions:
    """Translates expressions; statements within them are `statement`'s."""

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
                name = python_name(child.text.decode())
                found.append(f"{name}={name}")
            elif child.type == "named_argument":
                parts = child.named_children
                found.append(f"{python_name(parts[0].text.decode())}={self.expression(parts[-1])}")
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
        return {"end": "end_", "Inf": "inf"}.get(
            node.text.decode(), python_name(node.text.decode())
        )

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
        return f"{self.expression(value)}.{python_name(field.text.decode())}"

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
            [python_name(n.text.decode()) for n in parameters.named_children]
            if parameters.named_children
            else ([python_name(parameters.text.decode())] if parameters.text != b"()" else [])
        )
        return f"(lambda {', '.join(names)}: {self.expression(body)})"

    def on_call_expression(self, node):
        function, arguments = node.named_children[:2]
        found = self.arguments(arguments)
        for clause in node.named_children[2:]:
            nodes = clause.named_children
            parameters = [python_name(n.text.decode()) for n in nodes[0].named_children]
            found.insert(0, self.lambda_of(parameters, nodes[1:]))
        if function.type == "parenthesized_expression" and function.text == b"(!)":
            return f"(not {found[0]})"
        if function.type == "operator":
            return f"jl_operators[{function.text.decode()!r}]({', '.join(found)})"
        return f"{self.expression(function)}({', '.join(found)})"
