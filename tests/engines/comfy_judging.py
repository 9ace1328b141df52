"""How the fake ComfyUI judges a graph: the errors of the real one, older and newer, with their shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engines.comfy_newer import Problem, absent_class, in_circle
from engines.comfy_nodes import Spec, link


def judged(graph: dict[str, Any], known: dict[str, Spec], exists: Callable[[str], bool], *,
           newer: bool = False) -> tuple[Problem | None, dict[str, Any], list[str]]:
    """(error, node_errors, good output nodes), as the real server's validation answers."""
    for id_, node in graph.items():
        class_ = node.get("class_type")
        if newer and class_ not in known:
            return absent_class(id_, node), {}, []
        if class_ is None:
            return _error("invalid_prompt", "Cannot execute because a node is missing the class_type property.",
                          f"Node ID '#{id_}'"), {}, []
        if class_ not in known:
            return _error("invalid_prompt", f"Cannot execute because node {class_} does not exist.",
                          f"Node ID '#{id_}'"), {}, []
    outputs = [id_ for id_, node in graph.items() if known[node["class_type"]].stores]
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs", ""), {}, []
    errors: dict[str, Any] = {}
    good = []
    for output in outputs:
        if (round_ := _circle(graph, output)) and not newer:
            continue  # older servers do not say where
        wrong = {id_: [in_circle(graph, round_)] for id_ in round_} or {
            id_: found for id_ in _needed(graph, output) if (found := _wrong(graph, id_, known, exists))}
        for id_, found in wrong.items():
            one = errors.setdefault(id_, {"errors": found, "dependent_outputs": [],
                                          "class_type": graph[id_]["class_type"]})
            one["dependent_outputs"].append(output)
        if not wrong:
            good.append(output)
    if good:
        return None, errors, good
    return _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", ""), errors, []


def _error(kind: str, message: str, details: str) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def _needed(graph: dict[str, Any], id_: str) -> list[str]:
    found = [id_]
    for one in found:
        for value in graph[one].get("inputs", {}).values():
            if link(value) and len(value) == 2 and value[0] in graph and value[0] not in found:
                found.append(value[0])
    return found


def _circle(graph: dict[str, Any], start: str) -> list[str]:
    """The nodes of a circle that an output leads into, if there is one."""
    def walk(id_: str, above: tuple[str, ...]) -> list[str]:
        if id_ in above:
            return [*above[above.index(id_):]]
        return next((found for value in graph.get(id_, {}).get("inputs", {}).values()
                     if link(value) and len(value) == 2 and (found := walk(value[0], (*above, id_)))), [])

    return walk(start, ())


def _live(inputs: dict[str, list[Any]], given: dict[str, Any], before: str = "") -> dict[str, list[Any]]:
    """The inputs that count, with those that hang on what others are set to, and those that repeat."""
    found: dict[str, list[Any]] = {}
    for name, config in inputs.items():
        whole = f"{before}{name}"
        if config[0] == "COMFY_AUTOGROW_V3":
            template = config[1]["template"]
            (each,) = template["input"]["required"].values()
            found |= {f"{whole}.{template['prefix']}{number_}": each for number_ in range(template["max"])
                      if number_ < template["min"] or f"{whole}.{template['prefix']}{number_}" in given}
        elif config[0] != "COMFY_DYNAMICCOMBO_V3":
            found[whole] = config
        elif (branch := next((one for one in config[1]["options"] if one["key"] == given.get(whole)), None)):
            found[whole] = config
            for group in branch["inputs"].values():
                found |= _live(group, given, f"{whole}.")
    return found


def _wrong(graph: dict[str, Any], id_: str, known: dict[str, Spec], exists: Callable[[str], bool]) -> list[Problem]:
    node = graph[id_]
    given = node.get("inputs", {})
    found = []
    spec = known[node["class_type"]]
    optional = {name: config for name, config in _live(spec.optional, given).items() if name in given}
    for name, config in (_live(spec.required, given) | optional).items():
        extra = {"input_name": name, "input_config": config}
        if name not in given:
            found.append({"type": "required_input_missing", "message": "Required input is missing", "details": name,
                          "extra_info": {"input_name": name}})
            continue
        value = given[name]
        if link(value):
            found += _bad_link(graph, name, value, known, extra, config)
            continue
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        extra["received_value"] = value
        kind, options = config[0], config[1] if len(config) > 1 else {}
        if kind in ("INT", "FLOAT"):
            found += _bad_number(kind, name, value, options, extra)
        elif media := next((one for one in ("image", "video") if options.get(f"{one}_upload")), ""):
            if not exists(str(value)):
                found.append({"type": "custom_validation_failed", "message": "Custom validation failed for node",
                              "details": f"{name} - Invalid {media} file: {value}", "extra_info": {"input_name": name}})
        elif isinstance(kind, list) or kind == "COMBO":
            listed = kind if isinstance(kind, list) else options.get("options", [])
            if absent := [one for one in (value if options.get("multiselect") else [value]) if one not in listed]:
                told = str(listed) if len(listed) <= 20 else f"(list of length {len(listed)})"
                config_ = {"input_config": config if len(listed) <= 20 else None}
                found.append({"type": "value_not_in_list", "message": "Value not in list",
                              "details": f"{name}: {', '.join(map(repr, absent))} not in {told}",
                              "extra_info": extra | config_})
    return found


def _bad_number(kind: str, name: str, value: Any, options: dict[str, Any], extra: dict[str, Any]) -> list[Problem]:
    try:
        value = int(value) if kind == "INT" else float(value)
    except (TypeError, ValueError) as error:
        return [{"type": "invalid_input_type", "message": f"Failed to convert an input value to a {kind} value",
                 "details": f"{name}, {value}, {error}", "extra_info": {**extra, "exception_message": str(error)}}]
    if value > options["max"]:
        return [{"type": "value_bigger_than_max", "message": f"Value {value} bigger than max of {options['max']}",
                 "details": name, "extra_info": extra}]
    if value < options["min"]:
        return [{"type": "value_smaller_than_min", "message": f"Value {value} smaller than min of {options['min']}",
                 "details": name, "extra_info": extra}]
    return []


def _bad_link(graph: dict[str, Any], name: str, value: Any, known: dict[str, Spec], extra: dict[str, Any],
              config: list[Any]) -> list[Problem]:
    if len(value) != 2:
        return [{"type": "bad_linked_input",
                 "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]", "details": name,
                 "extra_info": {**extra, "received_value": value}}]
    if value[0] not in graph:
        trace = ['  File "/home/someone/ComfyUI/execution.py", line 788, in validate_inputs\n']
        return [{"type": "exception_during_validation", "message": "Exception when validating node",
                 "details": f"'{value[0]}'", "extra_info": {"exception_type": "KeyError", "traceback": trace}}]
    received = known[graph[value[0]]["class_type"]].outputs[value[1]]
    if received != config[0] and "COMFY_MATCHTYPE_V3" not in (received, config[0]):
        said = f"{name}, received_type({received}) mismatch input_type({config[0]})"
        return [{"type": "return_type_mismatch", "message": "Return type mismatch between linked nodes",
                 "details": said, "extra_info": {**extra, "received_type": received, "linked_node": value}}]
    return []
