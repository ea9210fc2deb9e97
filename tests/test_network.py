"""What a `Network` admits, counts and prints; every refusal with its whole sentence."""

import pickle

import msgspec
import pytest
from random_networks import random_network

from hw.errors import BadInput
from hw.files import read_json, write_json
from hw.network import INPUT, OUTPUT, Edge, Layer, Network, Padding, Shape, Size

SEEDS = range(120)


def conv(name, source=INPUT, channels=4, kernel=(1, 1), **fields):
    return Layer(name, "conv", (source,), channels, Size(*kernel), **fields)


def small():
    """A stem, a strided branch and its shortcut, an add, a concat with a pool, a head."""
    layers = (
        conv("stem", channels=4, kernel=(3, 3), padding=Padding(1, 1, 1, 1), relu=True),
        conv("branch", "stem", 4, (1, 3), padding=Padding(0, 0, 1, 1), bias=True),
        Layer("norm", "affine", ("stem",), relu=True),
        Layer("sum", "add", ("branch", "norm")),
        Layer("pool", "max", ("sum",), kernel=Size(3, 2), stride=Size(1, 2), padding=Padding(1, 1)),
        Layer("pairs", "mean", ("sum",), kernel=Size(1, 2), stride=Size(1, 2)),
        Layer("both", "concat", ("pool", "pairs")),
        conv("head", "both", 10, (4, 3), bias=True),
    )
    return Network("small", Shape(8, 7, 3), layers, row_step=2)


GOLDEN = """\
small: input 8x7x3, every 2. row
  stem    conv 3x3 padding 1,1,1,1 relu  input -> 4x7x4
  branch  conv 1x3 padding 0,0,1,1 bias  stem -> 4x7x4
  norm    affine relu  stem -> 4x7x4
  sum     add  branch + norm -> 4x7x4
  pool    max 3x2 stride 1,2 padding 1,1,0,0  sum -> 4x3x4
  pairs   mean 1x2 stride 1,2  sum -> 4x3x4
  both    concat  pool + pairs -> 4x3x8
  head    conv 4x3 bias  both -> 1x1x10"""


def test_a_network_prints_as_text():
    assert str(small()) == GOLDEN


def test_macs_and_parameters_counted_by_hand():
    network = small()
    macs = {"stem": 28 * 4 * 27, "branch": 28 * 4 * 12, "head": 10 * 96}
    parameters = {"stem": 108, "branch": 48 + 4, "norm": 4 + 4, "head": 960 + 10}
    for layer in network.layers:
        assert network.layer_macs(layer) == macs.get(layer.name, 0), layer.name
        assert network.layer_weights(layer) == parameters.get(layer.name, 0), layer.name
    assert network.macs == 3024 + 1344 + 960
    assert network.parameters == 108 + 52 + 8 + 970


def test_weight_shapes_of_each_kind():
    network = small()
    shapes = {layer.name: network.weight_shapes(layer) for layer in network.layers}
    assert shapes["stem"] == {"weight": (3, 3, 3, 4)}
    assert shapes["head"] == {"weight": (4, 3, 8, 10), "bias": (10,)}
    assert shapes["norm"] == {"weight": (4,), "bias": (4,)}
    assert shapes["sum"] == shapes["pool"] == shapes["pairs"] == shapes["both"] == {}


def test_edges_and_consumers_in_the_order_of_reading():
    network = small()
    assert [str(edge) for edge in network.edges[:4]] == [
        "input -> stem",
        "stem -> branch",
        "stem -> norm",
        "branch -> sum",
    ]
    assert Edge("both", "head") == network.edges[-1]
    assert network.consumers["stem"] == ("branch", "norm")
    assert network.consumers["head"] == ()
    assert network.output.name == "head"


def test_which_layers_mix_rows_look_at_windows_and_accumulate():
    layers = small().by_name
    assert {name for name, layer in layers.items() if layer.mixes_rows} == {"stem", "pool", "head"}
    assert {name for name, layer in layers.items() if not layer.windowed} == {"norm", "sum", "both"}
    assert {name for name, layer in layers.items() if layer.accumulates} == {"pairs"}
    assert layers["head"].taps == 12


def naive_extent(size, before, after, kernel, stride):
    """Positions of a kernel counted one by one."""
    return sum(1 for start in range(-before, size + after - kernel + 1) if (start + before) % stride == 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_windowed_shapes_are_counted_positions(seed):
    network = random_network(seed)
    for layer in filter(lambda layer: layer.windowed, network.layers):
        seen, (top, bottom, left, right) = network.input_shape(layer), layer.padding
        rows = naive_extent(seen.rows, top, bottom, layer.kernel.rows, layer.stride.rows)
        cols = naive_extent(seen.cols, left, right, layer.kernel.cols, layer.stride.cols)
        assert network.shapes[layer.name][:2] == (rows, cols)


@pytest.mark.parametrize("seed", range(0, 120, 8))
def test_a_network_keeps_its_value_and_hash_through_json_and_pickle(seed, tmp_path):
    network = random_network(seed)
    write_json(tmp_path / "network.json", network)
    for twin in (read_json(tmp_path / "network.json", Network), pickle.loads(pickle.dumps(network))):  # noqa: S301
        assert twin == network
        assert hash(twin) == hash(network)
        assert str(twin) == str(network)
        assert isinstance(twin.layers[0].kernel, Size)


def test_networks_are_equal_by_value():
    other = msgspec.structs.replace(small(), row_step=1, layers=small().layers[:7])
    assert len({small(), small(), other}) == 2


@pytest.mark.parametrize("rows", range(1, 9))
@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_stepth_row_is_read(rows, step):
    network = Network("n", Shape(rows, 2, 1), (conv("a"),), row_step=step)
    assert network.shapes[INPUT].rows == len(range(0, rows, step))


def refusal(*layers, shape=(4, 5, 3), row_step=1):
    with pytest.raises(BadInput) as error:
        Network("net", Shape(*shape), layers, row_step)
    return str(error.value)


@pytest.mark.parametrize("shape", [(0, 5, 3), (4, 0, 3), (4, 5, 0)])
def test_an_empty_input_is_refused(shape):
    text = "x".join(map(str, shape))
    assert refusal(conv("a"), shape=shape) == f"network net: its input {text} must be at least 1x1x1, its row step 1"


def test_a_row_step_below_1_is_refused():
    assert refusal(conv("a"), row_step=0) == "network net: its input 4x5x3 must be at least 1x1x1, its row step 1"


def test_a_network_without_layers_is_refused():
    assert refusal() == "network net: it has no layers; at least one is wanted"


def test_an_input_of_more_pixels_than_can_be_simulated_is_refused():
    told = f"network net: an input of {1 << 20}x{1 << 20}x1 was found, at most {1 << 28} pixels are wanted"
    assert refusal(conv("a"), shape=(1 << 20, 1 << 20, 1)) == told


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"channels": 0}, "kernel (1, 1), stride (1, 1), 0 channels, padding (0, 0, 0, 0)"),
        ({"kernel": (0, 1)}, "kernel (0, 1), stride (1, 1), 4 channels, padding (0, 0, 0, 0)"),
        ({"kernel": (1, -1)}, "kernel (1, -1), stride (1, 1), 4 channels, padding (0, 0, 0, 0)"),
        ({"stride": Size(1, 0)}, "kernel (1, 1), stride (1, 0), 4 channels, padding (0, 0, 0, 0)"),
        ({"padding": Padding(0, 0, -1, 0)}, "kernel (1, 1), stride (1, 1), 4 channels, padding (0, 0, -1, 0)"),
    ],
)
def test_sizes_below_1_are_refused(fields, found):
    wanted = "sizes of at least 1 and padding of at least 0 are wanted"
    assert refusal(conv("a", **fields)) == f"layer a: {found} were found; {wanted}"


def test_a_name_that_is_there_twice_is_refused():
    sentence = "layer a: the name is there twice; every layer wants its own"
    assert refusal(conv("a"), conv("a", "a")) == sentence


@pytest.mark.parametrize("name", [INPUT, OUTPUT])
def test_the_name_of_an_end_is_refused(name):
    sentence = f"layer {name}: the name stands for an end of every network; another is wanted"
    assert refusal(conv("a"), conv(name, "a")) == sentence


def test_an_unknown_input_is_refused():
    sentence = "layer b: its input c does not exist; an earlier layer or 'input' is wanted"
    assert refusal(conv("a"), conv("b", "c")) == sentence


@pytest.mark.parametrize("layers", [(conv("a", "b"), conv("b", "a")), (conv("a", "a"), conv("b", "a"))])
def test_a_cycle_is_refused(layers):
    name = layers[0].inputs[0]
    fault = "comes later or is its own input: a cycle"
    assert refusal(*layers) == f"layer a: its input {name} {fault}; an earlier layer or 'input' is wanted"


def test_a_layer_that_leads_nowhere_is_refused():
    sentence = "layer b: nothing reads it; only the last layer, c, may lead out"
    assert refusal(conv("a"), conv("b", "a"), conv("c", "a")) == sentence


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (Layer("b", "add", ("a",)), "layer b: 1 inputs found, 2 wanted by add"),
        (Layer("b", "add", ("a", INPUT, "a")), "layer b: 3 inputs found, 2 wanted by add"),
        (Layer("b", "concat", ("a",)), "layer b: 1 inputs found, 2 wanted by concat"),
        (Layer("b", "affine", ("a", INPUT)), "layer b: 2 inputs found, 1 wanted by affine"),
        (Layer("b", "conv", ("a", INPUT), 2), "layer b: 2 inputs found, 1 wanted by conv"),
        (Layer("b", "max", ()), "layer b: 0 inputs found, 1 wanted by max"),
        (Layer("b", "add", ("a", "a")), "layer b: it reads a twice; different inputs are wanted"),
        (Layer("b", "concat", ("a", INPUT, INPUT)), "layer b: it reads input twice; different inputs are wanted"),
    ],
)
def test_a_wrong_number_of_inputs_is_refused(layer, sentence):
    assert refusal(conv("a", channels=3), layer) == sentence


def test_a_later_layer_without_inputs_is_refused():
    sentence = "layer b: 0 inputs found, 1 wanted by affine"
    assert refusal(conv("a"), Layer("b", "affine", ()), Layer("c", "add", ("a", "b"))) == sentence


def test_an_add_of_unequal_channels_is_refused():
    sentence = "layer b: its inputs have shapes 4x5x4 and 4x5x3; equal ones are wanted"
    assert refusal(conv("a"), Layer("b", "add", ("a", INPUT))) == sentence


def test_a_concat_of_unequal_maps_is_refused_and_of_unequal_channels_taken():
    a, strided = conv("a"), conv("a", stride=Size(2, 1))
    both = Layer("b", "concat", ("a", INPUT))
    sentence = "layer b: its inputs have shapes 2x5x4 and 4x5x3; equal ones are wanted"
    assert refusal(strided, both) == sentence
    assert Network("net", Shape(4, 5, 3), (a, both)).shapes["b"] == (4, 5, 7)


@pytest.mark.parametrize("kind", ["conv", "max", "mean"])
def test_a_kernel_larger_than_its_map_is_refused(kind):
    layer = Layer("a", kind, (INPUT,), 4, Size(5, 1))
    assert refusal(layer) == "layer a: its kernel (5, 1) is larger than its padded input 4x5x3"


def test_a_kernel_as_large_as_the_padded_map_is_taken():
    network = Network("net", Shape(4, 5, 3), (conv("a", kernel=(6, 5), padding=Padding(1, 1)),))
    assert network.shapes["a"] == (1, 1, 4)


def test_a_map_that_a_row_step_makes_too_small_is_refused():
    sentence = "layer a: its kernel (3, 1) is larger than its padded input 2x5x3"
    assert refusal(conv("a", kernel=(3, 1)), row_step=2) == sentence


@pytest.mark.parametrize("padding", [Padding(3), Padding(bottom=3), Padding(left=2), Padding(right=2)])
def test_windows_of_padding_alone_are_refused(padding):
    found = f"layer a: padding {tuple(padding)} makes windows of padding alone"
    assert refusal(conv("a", kernel=(3, 2), padding=padding)) == f"{found}; less than the kernel (3, 2) is wanted"


def test_a_mean_with_padding_is_refused():
    layer = Layer("a", "mean", (INPUT,), kernel=Size(2, 2), padding=Padding(1, 0, 0, 0))
    assert refusal(layer) == "layer a: a mean with padding (1, 0, 0, 0) was found, one without is wanted"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"stride": Size(2, 1)}, "kernel (1, 1), stride (2, 1) and padding (0, 0, 0, 0)"),
        ({"kernel": Size(1, 3)}, "kernel (1, 3), stride (1, 1) and padding (0, 0, 0, 0)"),
        ({"padding": Padding(1)}, "kernel (1, 1), stride (1, 1) and padding (1, 0, 0, 0)"),
    ],
)
def test_a_window_where_none_belongs_is_refused(fields, found):
    sentence = f"layer a: {found} were found; affine takes pixels one by one, so none is wanted"
    assert refusal(Layer("a", "affine", (INPUT,), **fields)) == sentence


def test_a_refusal_reaches_the_reader_of_a_file_with_the_files_name(tmp_path):
    text = '{"name": "net", "input": [4, 5, 3], "layers": []}'
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(BadInput) as error:
        read_json(tmp_path / "n.json", Network)
    assert str(error.value) == f"{tmp_path / 'n.json'}: network net: it has no layers; at least one is wanted"


def test_an_unknown_kind_in_a_file_is_refused(tmp_path):
    text = '{"name": "net", "input": [4, 5, 3], "layers": [{"name": "a", "kind": "pool", "inputs": ["input"]}]}'
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(BadInput) as error:
        read_json(tmp_path / "n.json", Network)
    kinds = "add or affine or concat or conv or depthwise or max or mean or table or upsample"
    told = f"Invalid enum value 'pool' - at `$.layers[0].kind`; wanted is {kinds}"
    assert str(error.value) == f"{tmp_path / 'n.json'}: {told}"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (
            Layer("t", "table", (INPUT,)),
            "layer t: table with the function none was found; one is wanted of a table, and of nothing else",
        ),
        (
            Layer("t", "affine", (INPUT,), function="silu"),
            "layer t: affine with the function silu was found; one is wanted of a table, and of nothing else",
        ),
        (
            Layer("t", "table", (INPUT,), function="clip:2:1"),
            "layer t: function clip:2:1: a lower bound below the upper one is wanted",
        ),
        (
            Layer("u", "upsample", (INPUT,)),
            "layer u: upsample of the factor (1, 1) was found; one beyond (1, 1) is wanted of an upsample, "
            "and of nothing else",
        ),
        (
            Layer("u", "affine", (INPUT,), factor=Size(2, 2)),
            "layer u: affine of the factor (2, 2) was found; one beyond (1, 1) is wanted of an upsample, "
            "and of nothing else",
        ),
        (
            Layer("u", "upsample", (INPUT,), factor=Size(2, 2), stride=Size(1, 2)),
            "layer u: kernel (1, 1), stride (1, 2) and padding (0, 0, 0, 0) were found; an upsample has a factor, "
            "so none is wanted",
        ),
    ],
)
def test_functions_and_factors_where_they_do_not_belong_are_refused(layer, sentence):
    with pytest.raises(BadInput) as error:
        Network("n", Shape(2, 2, 1), (layer,))
    assert str(error.value) == sentence


def test_tables_and_upsamples_as_text_and_without_new_fields_on_older_ones():
    layers = (
        Layer("a", "conv", (INPUT,), 3),
        Layer("t", "table", ("a",), function="leaky_relu:0.1"),
        Layer("u", "upsample", ("t",), factor=Size(2, 3)),
    )
    assert str(Network("n", Shape(2, 2, 1), layers)) == (
        "n: input 2x2x1\n"
        "  a  conv 1x1  input -> 2x2x3\n"
        "  t  table leaky_relu:0.1  a -> 2x2x3\n"
        "  u  upsample 2x3  t -> 4x6x3"
    )
    assert msgspec.to_builtins(layers[0]).keys() == {"name", "kind", "inputs", "channels"}
