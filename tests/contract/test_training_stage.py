"""Both phases through the door of the room, from sealed artifacts to models that transformers loads."""

import json

import pytest

from instructlab_pipeline.artifacts import seal
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from instructlab_pipeline.training.stage import Phase1Inputs, Phase2Inputs, run_phase_1, run_phase_2
from servers.training_inputs import sealed_dataset, sealed_model

SETTINGS = {
    "train_num_workers": 1,
    "train_warmup_ratio": 0.05,
    "train_batch_size": 4,
    "train_sequence_length": 64,
    "train_gradient_accumulation_steps": 2,
    "train_seed": 42,
    "output_save_checkpoints": True,
    "output_checkpoint_frequency": 2,
    "train_lora_rank": 0,
    "train_moments_8bit": False,
    "train_validation_share": 0.0,
    "train_compile": "auto",
    "train_tensorboard": False,
    "train_cpu_limit": 1,
    "train_memory_per_worker": "1Gi",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return sealed_model(tmp_path_factory.mktemp("inputs") / "model")


@pytest.fixture
def seen():
    return []


@pytest.fixture
def context_for(tmp_path, seen):
    def context(name):
        folder = tmp_path / name
        folder.mkdir()
        return Context(folder=folder, cache=tmp_path / "cache", events=Events(listeners=[seen.append]))

    return context


def phase_1(model, dataset, **changes):
    settings = SETTINGS | {"train_epochs_phase_1": 4, "train_learning_rate_phase_1": 3e-3} | changes
    return Phase1Inputs(model=model, dataset=dataset, **settings)


def phase_2(model, dataset, first, **changes):
    settings = SETTINGS | {"train_epochs_phase_2": 4, "train_learning_rate_phase_2": 3e-3} | changes
    return Phase2Inputs(model=model, dataset=dataset, train_phase_1=first, **settings)


def sealed(context, facts):
    return seal(context.folder, kind="training", key="training", inputs={}, facts=facts)


def test_a_phase_without_data_is_skipped_and_says_so(model, tmp_path, context_for, seen):
    dataset = sealed_dataset(tmp_path / "dataset", phase_1=0, phase_2=0)
    context = context_for("train_phase_1")
    facts = run_phase_1(phase_1(model, dataset), context)
    assert "no samples" in facts["skipped"]
    assert json.loads((context.folder / "training.json").read_text()) == facts
    assert not (context.folder / "model").exists()
    assert "train_phase_1 is skipped" in seen[-1]["message"]


@pytest.mark.slow
def test_two_phases_make_models_that_transformers_loads(model, tmp_path, context_for, seen):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dataset = sealed_dataset(tmp_path / "dataset", phase_1=20, phase_2=12)
    first, second = context_for("train_phase_1"), context_for("train_phase_2")
    one = sealed(first, run_phase_1(phase_1(model, dataset), first))
    facts = run_phase_2(phase_2(model, dataset, one), second)
    two = sealed(second, facts)

    assert (facts["steps"], facts["epochs"], facts["samples"], facts["overlong"]) == (8, 4, 12, 0)
    assert facts["final_loss"] == facts["epoch_losses"][-1] < one.facts["epoch_losses"][0]
    assert 0 < facts["supervised_tokens"] < facts["tokens"]
    summary = json.loads((two / "training.json").read_text())
    assert summary == {name: value for name, value in facts.items() if name != "tokens_per_second"}
    assert {file.path.split("/")[0] for file in two.files} == {"model", "checkpoints", "training.json"}
    assert sorted(path.name for path in (two / "checkpoints").iterdir()) == ["epoch-2", "epoch-4"]
    assert not (two / "work" / "recovery").exists()
    base = model / "files"
    for name in ("config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"):
        assert (two / "model" / name).read_bytes() == (base / name).read_bytes()
    assert all((two / file.path).stat().st_mode & 0o004 for file in two.files)
    assert {event["stage"] for event in seen if event["event"] == "metric"} == {"train_phase_1", "train_phase_2"}

    tuned = AutoModelForCausalLM.from_pretrained(two / "model")
    tokenizer = AutoTokenizer.from_pretrained(two / "model")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "river moon?"}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    assert tuned.generate(**prompt, max_new_tokens=3).shape[1] > prompt["input_ids"].shape[1]
    last_epoch = two / "checkpoints" / "epoch-4" / "model.safetensors"
    assert last_epoch.read_bytes() == (two / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_phase_2_starts_from_the_base_where_phase_1_was_skipped_and_learns_one_batch_by_heart(
    model, tmp_path, context_for
):
    dataset = sealed_dataset(tmp_path / "dataset", phase_1=0, phase_2=6)
    first, second = context_for("train_phase_1"), context_for("train_phase_2")
    one = sealed(first, run_phase_1(phase_1(model, dataset), first))
    facts = run_phase_2(
        phase_2(
            model,
            dataset,
            one,
            train_epochs_phase_2=150,
            train_learning_rate_phase_2=1e-2,
        ),
        second,
    )
    assert facts["steps"] == 150
    assert facts["final_loss"] < 0.05


@pytest.mark.slow
def test_a_phase_ends_with_the_epoch_that_did_best_on_held_out_samples(model, tmp_path, context_for, seen):
    dataset = sealed_dataset(tmp_path / "dataset", phase_1=24, phase_2=0)
    context = context_for("train_phase_1")
    settings = {"train_epochs_phase_1": 16, "train_learning_rate_phase_1": 0.03, "train_validation_share": 0.25}
    facts = run_phase_1(phase_1(model, dataset, **settings), context)
    losses, best = facts["validation_losses"], facts["best_epoch"]
    assert (len(losses), facts["steps"], facts["samples"]) == (16, 48, 24)
    assert losses[best - 1] == min(losses[1::2])
    assert best < 16
    ours = (context.folder / "model" / "model.safetensors").read_bytes()
    kept = context.folder / "checkpoints" / f"epoch-{best}" / "model.safetensors"
    assert ours == kept.read_bytes()
    measured = [event for event in seen if event["name"] == "validation_loss"]
    assert [event["value"] for event in measured] == losses
    assert "it overfits" in [event for event in seen if event["name"] == "notice"][-1]["message"]
