"""Writes the trained model as models/demo (DSpark) and models/demo-mtp (the April layout).

Both share the shard of the main model, the tokenizer and the evaluation by symbolic links."""

import argparse
import hashlib
import json
import os
import shutil

import torch

from checkpoint import to_tensors, write_shard

MAIN, DRAFT = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def _write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def _index(path, names, total):
    _write_json(
        os.path.join(path, "model.safetensors.index.json"),
        {"metadata": {"total_size": total}, "weight_map": names},
    )


def _link(target, path):
    if os.path.lexists(path):
        os.remove(path)
    os.symlink(target, path)


def export(out, cfg, params, draft_params, draft, main_from=None):
    """One directory. main_from: link the main shard and tokenizer of that sibling directory."""
    os.makedirs(out, exist_ok=True)
    _write_json(
        os.path.join(out, "config.json"),
        cfg.json(draft if draft_params else "mtp")
        | (
            {}
            if draft_params
            else {"num_nextn_predict_layers": 0, "compress_ratios": list(cfg.ratios)}
        ),
    )
    _write_json(
        os.path.join(out, "generation_config.json"),
        {"bos_token_id": 0, "eos_token_id": 1, "do_sample": True, "temperature": 1.0, "top_p": 1.0},
    )
    main, total = to_tensors(params), 0
    names = {n: MAIN for n in main}
    if main_from:
        for file in (MAIN, "tokenizer.json", "tokenizer_config.json"):
            _link(os.path.join("..", main_from, file), os.path.join(out, file))
        total += sum(w.numel() * w.element_size() for w in main.values())
    else:
        total += write_shard(os.path.join(out, MAIN), main)
    if draft_params:
        made = to_tensors(draft_params)
        total += write_shard(os.path.join(out, DRAFT), made)
        names |= {n: DRAFT for n in made}
    _index(out, names, total)
    return total


def checksums(root, folders):
    """SHA256SUMS of every file that is no link, sorted, for `sha256sum -c` in root."""
    lines = []
    for folder in folders:
        for name in sorted(os.listdir(os.path.join(root, folder))):
            path = os.path.join(root, folder, name)
            if not os.path.islink(path) and os.path.isfile(path):
                with open(path, "rb") as f:
                    lines.append(f"{hashlib.sha256(f.read()).hexdigest()}  {folder}/{name}\n")
    with open(os.path.join(root, "SHA256SUMS"), "w", encoding="ascii") as f:
        f.writelines(lines)


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--state", required=True, help="state file of train.py")
    a.add_argument("--dspark", help="state file of heads.py dspark")
    a.add_argument("--mtp", help="state file of heads.py mtp")
    a.add_argument("--tokenizer", required=True)
    a.add_argument("--models", default="models", help="writes demo and demo-mtp below it")
    o = a.parse_args()
    saved = torch.load(o.state, weights_only=False)
    cfg, params = saved["cfg"], saved["params"]
    demo = os.path.join(o.models, "demo")
    os.makedirs(demo, exist_ok=True)
    if os.path.abspath(o.tokenizer) != os.path.abspath(os.path.join(demo, "tokenizer.json")):
        shutil.copyfile(o.tokenizer, os.path.join(demo, "tokenizer.json"))
    _write_json(
        os.path.join(demo, "tokenizer_config.json"),
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": False,
            "add_eos_token": False,
            "model_max_length": cfg.max_position,
        },
    )
    heads = {
        k: torch.load(p, weights_only=False)["params"] if p else None
        for k, p in (("dspark", o.dspark), ("mtp", o.mtp))
    }
    print("demo:", export(demo, cfg, params, heads["dspark"], "dspark"), "bytes")
    folders = ["demo"]
    if heads["mtp"]:
        mtp = os.path.join(o.models, "demo-mtp")
        print("demo-mtp:", export(mtp, cfg, params, heads["mtp"], "mtp", main_from="demo"), "bytes")
        folders.append("demo-mtp")
    checksums(o.models, folders)


if __name__ == "__main__":
    main()
