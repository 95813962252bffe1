"""A ValidatingAdmissionPolicy as the API server applies it, with the reference implementation of CEL.

Every expression is type-checked when the policy is read: a variable has the type of its expression, as in Kubernetes.
`find` and `findAll` are functions that Kubernetes adds to CEL.
"""

import re

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

STRING = cel.Type.STRING
STRINGS = cel.Type.List(STRING)


class Policy:
    def __init__(self, manifest):
        spec = manifest["spec"]
        self.variables, types = {}, {"object": cel.Type.DYN}
        for each in spec["variables"]:
            compiled = _compiled(each["expression"], types)
            self.variables[_name(each["name"])] = compiled
            types[_name(each["name"])] = cel.Type.Map(STRING, STRING) if each["name"] == "data" else STRING
            assert each["name"] == "data" or compiled.return_type() == STRING
        self.validations = [self._validation(each, types) for each in spec["validations"]]

    def refusals(self, config_map):
        """The messages of all validations that do not hold, in order."""
        values = {"object": config_map}
        for name, compiled in self.variables.items():
            values[name] = _value(compiled, values)
        failed = [message for holds, message in self.validations if not _value(holds, values)]
        return [each if isinstance(each, str) else _value(each, values) for each in failed]

    @staticmethod
    def _validation(each, types):
        holds = _compiled(each["expression"], types)
        assert holds.return_type() == cel.Type.BOOL
        if "messageExpression" not in each:
            return holds, each["message"]
        message = _compiled(each["messageExpression"], types)
        assert message.return_type() == STRING
        return holds, message


def _compiled(expression, types):
    env = cel.NewEnv(variables=types, extensions=[ext_strings.ExtStrings(), _kubernetes()])
    return env.compile(re.sub(r"\bvariables\.(\w+)", lambda match: _name(match[1]), expression))


def _value(compiled, values):
    """Whatever fails to be evaluated fails the request, as `failurePolicy: Fail` has it."""
    value = compiled.eval(data=values)
    assert value.type() != cel.Type.ERROR, value.plain_value()
    return value.plain_value()


def _name(variable):
    return f"variables_{variable}"


def _find(text, pattern):
    match = re.search(pattern, text)
    return match[0] if match else ""


def _find_all(text, pattern):
    return [match[0] for match in re.finditer(pattern, text)]


def _kubernetes():
    find = cel.Overload("string_find_string", STRING, [STRING, STRING], is_member=True, impl=_find)
    find_all = cel.Overload("string_find_all_string", STRINGS, [STRING, STRING], is_member=True, impl=_find_all)
    return cel.CelExtension("kubernetes", [cel.FunctionDecl("find", [find]), cel.FunctionDecl("findAll", [find_all])])
