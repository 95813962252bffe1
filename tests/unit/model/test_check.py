import json

import pytest
from safetensors.numpy import save_file

from instructlab_pipeline.model.check import complaints, complaints_of_weights, missing_files, num_parameters
from servers.tiny_model import write_tiny_model

TYPES = {"llama"}


@pytest.fixture
def folder(tmp_path):
    return write_tiny_model(tmp_path / "tiny")


def change_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def told(folder, families=None):
    return [*complaints(folder, TYPES, families), *complaints_of_weights(folder)]


def split_weights(folder):
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / shard)
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model.safetensors").unlink()


def test_a_complete_model_has_nothing_to_complain_about(folder):
    assert told(folder) == []


def test_parameters_are_counted_from_the_headers(folder):
    from safetensors.numpy import load_file

    expected = sum(tensor.size for tensor in load_file(folder / "model.safetensors").values())
    assert num_parameters(folder) == expected
    split_weights(folder)
    assert told(folder) == []
    assert num_parameters(folder) == expected


def test_a_truncated_file_of_weights_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    (complaint,) = told(folder)
    assert complaint.startswith("model.safetensors is not a whole safetensors file")


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04pickle", b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"\x01" + bytes(7) + b"{"]
)
def test_what_is_no_safetensors_file_is_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    (complaint,) = told(folder)
    assert complaint.startswith("model.safetensors is not a whole safetensors file")


def test_bytes_behind_the_last_tensor_are_refused(folder):
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"more")
    assert "promises" in told(folder)[0]


def test_a_missing_shard_is_named(folder):
    split_weights(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert told(folder) == ["model-00002-of-00002.safetensors is missing, which model.safetensors.index.json lists"]


def test_a_shard_without_its_tensors_is_named(folder):
    split_weights(folder)
    first, second = sorted(folder.glob("model-*.safetensors"))
    second.write_bytes(first.read_bytes())
    (complaint,) = told(folder)
    assert complaint.startswith("model-00002-of-00002.safetensors lacks ")


def test_an_index_that_leads_out_of_the_folder_is_refused(folder):
    split_weights(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../tiny/config.json"}}))
    assert "../tiny/config.json is missing" in told(folder)[0]


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_the_model_is_refused(folder, name):
    change_json(folder / name, auto_map={"AutoModelForCausalLM": "modeling.Model"})
    (complaint,) = told(folder)
    assert complaint.startswith(f"{name} has auto_map")


def test_quantized_weights_are_refused(folder):
    change_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    (complaint,) = told(folder)
    assert complaint.startswith("config.json has quantization_config")
    change_json(folder / "config.json", quantization_config=None)
    assert told(folder) == []


@pytest.mark.parametrize("architectures", ["LlamaForCausalLM", [], [None], {"0": "LlamaForCausalLM"}])
def test_architectures_are_a_list_of_names(folder, architectures):
    change_json(folder / "config.json", architectures=architectures)
    assert told(folder) == ["config.json names no architectures"]


@pytest.mark.parametrize("kind", [["llama"], {}, None, 7])
def test_a_model_type_is_a_name(folder, kind):
    change_json(folder / "config.json", model_type=kind)
    assert "which transformers does not know" in told(folder)[0]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_json_that_is_nested_without_end_is_refused(folder, name):
    (folder / name).write_text("[" * 200_000)
    assert any(complaint.startswith(f"{name} is not readable JSON") for complaint in told(folder))


def test_an_unknown_model_type_is_refused(folder):
    change_json(folder / "config.json", model_type="lama")
    assert "'lama'" in told(folder)[0]


def test_a_family_on_which_training_is_not_proven_is_refused(folder):
    (complaint,) = told(folder, {"granite", "mistral"})
    assert complaint == "config.json has model_type 'llama'; training has been proven on granite, mistral"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_an_encoding_that_transformers_does_not_take_is_refused(folder, encoding):
    (folder / "config.json").write_text((folder / "config.json").read_text(), encoding=encoding)
    (complaint,) = told(folder)
    assert complaint.startswith("config.json is not readable JSON")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_pointer_of_git_lfs_is_told_from_its_file(folder, name):
    (folder / name).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 17000\n")
    (complaint,) = told(folder)
    assert complaint.startswith(name)
    assert "it is a pointer of Git LFS" in complaint


@pytest.mark.parametrize("others", [set(), {"config.json", "tokenizer.json"}])
def test_an_adapter_alone_is_refused_by_its_names(others):
    (complaint,) = missing_files({"adapter_config.json", "adapter_model.safetensors", *others})
    assert complaint.startswith("adapter_config.json says that this is an adapter")


def test_a_model_without_chat_template_is_refused(folder):
    (folder / "chat_template.jinja").unlink()
    assert told(folder)[0].startswith("chat_template.jinja is missing")


def test_a_chat_template_in_the_tokenizer_config_is_enough(folder):
    change_json(folder / "tokenizer_config.json", chat_template=(folder / "chat_template.jinja").read_text())
    (folder / "chat_template.jinja").unlink()
    assert told(folder) == []


def test_every_fault_is_told_at_once(folder):
    (folder / "config.json").write_text("{")
    (folder / "tokenizer.json").write_text("[]")
    (folder / "chat_template.jinja").unlink()
    (folder / "model.safetensors").write_bytes(b"")
    found = told(folder)
    assert [complaint.split()[0] for complaint in found] == [
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "model.safetensors",
    ]


def test_pickled_weights_alone_are_refused_by_their_names():
    found = missing_files({"config.json", "tokenizer.json", "tokenizer_config.json", "pytorch_model.bin"})
    assert found == ["model.safetensors is missing; weights in other formats, pickled ones above all, are not loaded"]


def test_shards_without_an_index_are_refused_by_their_names():
    found = missing_files(
        {"config.json", "tokenizer.json", "tokenizer_config.json", "model-00001-of-00002.safetensors"}
    )
    assert found == ["model.safetensors.index.json is missing, which says what each shard holds"]
