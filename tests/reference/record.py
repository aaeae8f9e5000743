#!/usr/bin/env python3
"""Records what PyTorch, transformers and peft make of small random models of each family, for tests/reference.rs. `pip install torch transformers
peft safetensors` first; `just reference`. The same versions write the same files: see versions.json."""
import json, pathlib, shutil

import peft, torch, transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config

HERE = pathlib.Path(__file__).resolve().parent
SIZES = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             bos_token_id=None, eos_token_id=1, pad_token_id=None)
FAMILIES = {
    "llama": LlamaConfig(**SIZES, num_hidden_layers=2, rms_norm_eps=1e-5, rope_theta=500.0, tie_word_embeddings=True),
    "llama3": LlamaConfig(**SIZES, num_hidden_layers=2, rms_norm_eps=1e-5, tie_word_embeddings=False, rope_theta=500.0,
                          rope_scaling={"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                        "original_max_position_embeddings": 16}),
    "qwen2": Qwen2Config(**SIZES, num_hidden_layers=2, tie_word_embeddings=False, use_sliding_window=False),
    "qwen3": Qwen3Config(**SIZES, num_hidden_layers=2, head_dim=6, tie_word_embeddings=True),
    "gemma3": Gemma3TextConfig(**SIZES, num_hidden_layers=4, head_dim=6, sliding_window=5, query_pre_attn_scalar=9, tie_word_embeddings=True,
                               layer_types=["sliding_attention", "full_attention"] * 2, rope_local_base_freq=50.0),
}
ADAPTERS = {
    "plain": dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"]),
    "rslora": dict(r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "dora": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["q_proj", "o_proj", "down_proj"]),
}


def rows():
    """Two conversations, and which of their tokens are learnt."""
    generator = torch.Generator().manual_seed(3)
    tokens = [torch.randint(0, 40, (length,), generator=generator) for length in (13, 21)]
    return [(row, [at % 3 != 1 for at in range(len(row))]) for row in tokens]


def summed_loss(model):
    total = 0.0
    for row, learned in rows():
        logits = model(row[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, row[1:], reduction="none")
        total = total + losses[torch.tensor(learned[1:])].sum()
    return total


def main():
    expected = {"rows": [{"tokens": row.tolist(), "learned": learned} for row, learned in rows()], "families": {}}
    for name, config in FAMILIES.items():
        torch.manual_seed(7)
        config._attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config).float().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter) if parameter.dim() > 1 else 0.2 * torch.randn_like(parameter))
        place = HERE / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        model.save_pretrained(place)
        (place / "generation_config.json").unlink(missing_ok=True)
        loss = summed_loss(model)
        loss.backward()
        gradients = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
        save_file(gradients, place / "gradients.safetensors")
        with torch.no_grad():
            logits = model(rows()[1][0][None]).logits[0, -1]
        expected["families"][name] = {"loss": loss.item(), "logits": logits.tolist(), "adapters": {}}
        if name != "llama":
            continue
        for kind, settings in ADAPTERS.items():
            torch.manual_seed(11)
            fresh = AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager").float()
            tuned = get_peft_model(fresh, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)).train()
            with torch.no_grad():
                for key, parameter in tuned.named_parameters():
                    if parameter.requires_grad:
                        parameter.add_(0.2 * torch.randn_like(parameter))
            loss = summed_loss(tuned)
            loss.backward()
            folder = place / kind
            tuned.save_pretrained(folder)
            (folder / "README.md").unlink(missing_ok=True)
            about = json.loads((folder / "adapter_config.json").read_text())
            about["base_model_name_or_path"] = name
            about["target_modules"].sort()
            (folder / "adapter_config.json").write_text(json.dumps(about, indent=1) + "\n")
            gradients = {key.replace(".default", "").removesuffix(".weight") if "magnitude" in key else key.replace(".default", ""): parameter.grad.clone()
                         for key, parameter in tuned.named_parameters() if parameter.requires_grad}
            save_file(gradients, folder / "gradients.safetensors")
            with torch.no_grad():
                logits = tuned.eval()(rows()[1][0][None]).logits[0, -1]
            expected["families"][name]["adapters"][kind] = {"loss": loss.item(), "logits": logits.tolist()}
    # Pairs: the better and the worse answer, with the adapter against the model without.
    place = HERE / "llama"
    base = AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager").float().eval()
    tuned = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager").float(), place / "plain", is_trainable=True).train()

    def likelihood(model, row, learned):
        logits = torch.log_softmax(model(row[None]).logits[0, :-1], -1)
        return logits.gather(1, row[1:, None])[:, 0][torch.tensor(learned[1:])].sum()

    better, worse = rows()
    with torch.no_grad():
        before = likelihood(base, *better) - likelihood(base, *worse)
    loss = -torch.nn.functional.logsigmoid(0.1 * (likelihood(tuned, *better) - likelihood(tuned, *worse) - before))
    loss.backward()
    length = sum(parameter.grad.pow(2).sum() for parameter in tuned.parameters() if parameter.requires_grad).sqrt()
    expected["pairs"] = {"beta": 0.1, "loss": loss.item(), "gradient": length.item()}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()
