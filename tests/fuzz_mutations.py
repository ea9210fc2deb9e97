"""Files made worse: bytes, trees of lists and mappings, safetensors, ONNX graphs; all by a seeded generator."""

import copy
import json
import struct
from random import Random

NAMES = [
    "",
    "a",
    "input",
    "..",
    "../../x",
    "/outside/x",
    "a/b",
    "a\0b",
    "\x1b[31mred",
    "a\nb",
    "\u202e\ud7ff",
    "x" * 5000,
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    62,
    63,
    64,
    65,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    -(2**63),
]
NUMBERS += [2**64, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")]
WORDS = [
    b"<<: *a",
    b"&a ",
    b"*a",
    b"!!python/name:os",
    b"!!int ",
    b"? ",
    b"- ",
    b"---\n",
    b"...\n",
    b": ",
    b"{",
    b"[",
    b"'",
    b'"',
]
WORDS += [
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"%YAML 1.1\n",
    b"#",
    b"|\n",
    b">-\n",
    b"~",
    b"1:1:1",
    b"2026-02-30",
]
WORDS += [
    b"null",
    b"NaN",
    b"1e999",
    b"-",
    b"0x",
    b"\\u0000",
    b"\\ud800",
    b"<!ENTITY a 'a'>",
    b"&a;",
    b"</",
    b"]]>",
    b"9" * 5000,
    b"[" * 300,
]


def odd(rng: Random) -> object:
    """A value that may stand nowhere."""
    deep: object = 0
    for _ in range(rng.choice([1, 5, 150])):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return rng.choice(
        [None, True, False, [], {}, [[]], deep, rng.choice(NAMES), rng.choice(NUMBERS), rng.choice(NUMBERS)]
    )


def of_bytes(rng: Random, data: bytes) -> bytes:
    """One to eight changes of bytes."""
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at = rng.randrange(len(made) + 1)
        until = min(len(made), at + rng.choice([1, 1, 2, 4, 8, 64, 1000]))
        kind = rng.randrange(9)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(made):
            made[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == 2:
            made[at:at] = rng.randbytes(rng.choice([1, 2, 8, 100]))
        elif kind == 3:
            del made[at:until]
        elif kind == 4:
            made[at:at] = made[at:until] * rng.choice([1, 1, 2, 50])
        elif kind == 5:
            del made[at:]
        elif kind == 6:
            number = int(rng.choice(NUMBERS[:21])) & (2**64 - 1)
            made[at : at + 8] = struct.pack(rng.choice(["<Q", ">Q"]), number)
        elif kind == 7:
            made[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), int(rng.choice(NUMBERS[:18])) & 0xFFFFFFFF)
        else:
            made[at:at] = rng.choice(WORDS)
    return bytes(made)


def of_tree(rng: Random, tree: object) -> object:
    """One to four changes of a tree of lists and mappings: keys and values gone, doubled, renamed, swapped, odd."""
    made = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 2, 4])):
        holders = _holders(made)
        if not holders:
            return odd(rng)
        holder, key = rng.choice(holders)
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 2 and isinstance(holder, dict):
            holder[rng.choice([*NAMES, f"{key}s", key[:-1]])] = holder.pop(key)
        elif kind == 3:
            other, place = rng.choice(holders)
            if place in other if isinstance(other, dict) else True:
                holder[key] = copy.deepcopy(other[place])
        elif kind == 4 and isinstance(holder[key], int | float):
            holder[key] = rng.choice([-holder[key], holder[key] * 10**6, holder[key] + 1, str(holder[key])])
        elif kind == 5 and isinstance(holder[key], str):
            holder[key] = rng.choice([holder[key] * 2, holder[key][:-1], f"../{holder[key]}", rng.choice(NAMES)])
        else:
            holder[key] = odd(rng)
    return made


def _holders(tree: object) -> list:
    """Every place of a tree, as (list or mapping, index or key)."""
    found, todo = [], [tree]
    while todo:
        here = todo.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        found += [(here, key) for key in keys if isinstance(key, str | int)]
        todo += [here[key] for key in keys]
    return found


def of_json(rng: Random, data: bytes) -> bytes:
    """JSON changed as a tree, as bytes, or both."""
    if rng.random() < 0.7:
        data = json.dumps(of_tree(rng, json.loads(data)), ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")
    return of_bytes(rng, data) if rng.random() < 0.45 else data


def of_yaml(rng: Random, data: bytes) -> bytes:
    """YAML changed as a tree, as bytes, or both; some keys twice and some aliases."""
    import yaml

    if rng.random() < 0.6:
        tree = of_tree(rng, yaml.load(data, Loader=yaml.CSafeLoader))  # it is our own file
        made = yaml.dump(tree, Dumper=yaml.CSafeDumper, default_flow_style=rng.choice([None, True, False]))
        data = made.encode("utf-8", "replace")
    if rng.random() < 0.2:
        lines = data.split(b"\n")
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        data = b"\n".join(lines)
    return of_bytes(rng, data) if rng.random() < 0.5 else data


def of_safetensors(rng: Random, data: bytes) -> bytes:
    """Arrays gone, of other types, shapes and values, the header changed as a tree, or any bytes."""
    if rng.random() < 0.4:
        return _of_arrays(rng, data)
    if rng.random() < 0.6:
        size = int.from_bytes(data[:8], "little")
        header = of_tree(rng, json.loads(data[8 : 8 + size]))
        text = json.dumps(header).replace("NaN", "0").encode()
        size = len(text) if rng.random() < 0.9 else int(rng.choice(NUMBERS[:18])) & (2**64 - 1)
        data = size.to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]
    return of_bytes(rng, data) if rng.random() < 0.5 else data


def _of_arrays(rng: Random, data: bytes) -> bytes:
    import numpy as np
    from safetensors.numpy import load, save

    arrays = load(data)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(list(arrays))
        kind = rng.randrange(6)
        if kind == 0:
            del arrays[name]
        elif kind == 1:
            arrays[rng.choice([f"{name}x", "a", "layer.a.weight", *arrays])] = arrays[name]
        elif kind == 2:
            with np.errstate(all="ignore"):
                arrays[name] = arrays[name].astype(rng.choice(["f2", "f4", "f8", "i1", "u1", "i8", "u8", "?"]))
        elif kind == 3:
            arrays[name] = rng.choice([arrays[name].ravel(), arrays[name][None], arrays[name][:0], np.zeros((), "f4")])
        elif arrays[name].size:
            flat = np.array(arrays[name]).ravel()
            number = rng.choice([0, 1, 127, -1, 2**31, 2**63 - 1, float("nan"), float("inf")])
            with np.errstate(all="ignore"):
                flat[rng.randrange(flat.size)] = np.array(number).astype(flat.dtype)
            arrays[name] = flat.reshape(arrays[name].shape)
        if not arrays:
            break
    return save({name: np.ascontiguousarray(array).copy() for name, array in arrays.items()})


def of_onnx(rng: Random, data: bytes) -> bytes:
    """Nodes, attributes, tensors and dimensions changed, or any bytes."""
    import onnx

    if rng.random() < 0.2:
        return of_bytes(rng, data)
    model = onnx.load_model_from_string(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice([_node, _node, _attribute, _attribute, _tensor, _tensor, _input, _head])(rng, model)
    made = model.SerializeToString()
    return of_bytes(rng, made) if rng.random() < 0.1 else made


def _node(rng: Random, model) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node, other = rng.choice(nodes), rng.choice(nodes)
    kind = rng.randrange(8)
    if kind == 0:
        nodes.remove(node)
    elif kind == 1:
        node.op_type = rng.choice([other.op_type, *OPERATIONS])
    elif kind == 2:
        node.name = rng.choice([other.name, *NAMES]).replace("\0", "")
    elif kind == 3 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*other.input, *other.output, "nobody", ""])
    elif kind == 4 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind == 5 and node.output:
        node.output[0] = rng.choice([*other.output, *other.input, "elsewhere", ""])
    elif kind == 6:
        nodes.append(other)
    else:
        node.input.append(rng.choice([*other.input, *other.output, "nobody"]))


OPERATIONS = ["Conv", "Gemm", "MatMul", "BatchNormalization", "Relu", "Add", "Concat", "MaxPool", "AveragePool", "Loop"]
OPERATIONS += [
    "GlobalAveragePool",
    "ReduceMean",
    "Constant",
    "Reshape",
    "Slice",
    "Flatten",
    "Dropout",
    "Identity",
    "If",
]


def _attribute(rng: Random, model) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    attribute = rng.choice(rng.choice(nodes).attribute)
    kind = rng.randrange(6)
    if kind == 0:
        attribute.i = rng.choice([0, -1, 2, 2**40, -(2**63), 2**63 - 1])
    elif kind == 1 and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice([0, -1, 1, 5, 2**31, -(2**63), 2**63 - 1])
    elif kind == 2:
        attribute.ints.append(rng.choice([0, 1, 2**62]))
    elif kind == 3 and attribute.ints:
        del attribute.ints[:1]
    elif kind == 4:
        attribute.type = rng.randrange(16)
    else:
        attribute.name = rng.choice(["pads", "strides", "kernel_shape", "auto_pad", "axis", "axes", "group", "value"])
        attribute.s = rng.choice([b"SAME_UPPER", b"VALID", b"\xff", b"NOTSET"])


def _tensor(rng: Random, model) -> None:
    import onnx

    tensors = list(model.graph.initializer)
    tensors += [each.t for node in model.graph.node for each in node.attribute if each.HasField("t")]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    kind = rng.randrange(7)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([0, 1, -1, 3, 2**31, 2**40, 2**63 - 1])
    elif kind == 1:
        tensor.dims.append(rng.choice([0, 1, 2]))
    elif kind == 2 and tensor.dims:
        del tensor.dims[:1]
    elif kind == 3:
        tensor.data_type = rng.choice([0, 1, 2, 7, 8, 10, 14, 16, 17, 22, 99])
    elif kind == 4:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 5:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", rng.choice(["../secret", "/etc/passwd", "x", ""])
    else:
        tensor.name = rng.choice(["", "x", "nobody"])


def _input(rng: Random, model) -> None:
    values = [*model.graph.input, *model.graph.output]
    if not values:
        return
    dims = rng.choice(values).type.tensor_type.shape.dim
    kind = rng.randrange(5)
    if kind == 0 and dims:
        rng.choice(dims).dim_value = rng.choice([0, -1, 1, 3, 2**31, 2**62, 2**63 - 1])
    elif kind == 1 and dims:
        rng.choice(dims).dim_param = "batch"
    elif kind == 2:
        dims.add().dim_value = 1
    elif kind == 3 and dims:
        del dims[0]
    else:
        model.graph.input.append(rng.choice(values))


def _head(rng: Random, model) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        model.ir_version = rng.choice([0, 1, 3, 99, 2**40])
    elif kind == 1:
        model.opset_import[0].version = rng.choice([0, 1, 5, 13, 18, 99])
    elif kind == 2 and model.graph.output:
        model.graph.output[0].name = rng.choice(["", "nobody", "x"])
    else:
        model.graph.name = rng.choice(["", "\x1b[31m"])
