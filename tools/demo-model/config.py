"""Shapes of the bundled model and their config.json."""

import dataclasses
import json

HEAD, ROPE, NOPE, INDEX, WINDOW, STREAMS, SINKHORN = 512, 64, 448, 128, 128, 4, 20


@dataclasses.dataclass
class Config:
    vocab: int = 2048
    dim: int = 256
    ratios: tuple = (0, 4, 128, 4)
    heads: int = 4
    q_rank: int = 128
    o_groups: int = 2
    o_rank: int = 128
    index_heads: int = 4
    index_topk: int = 64
    experts: int = 8
    active: int = 2
    moe_dim: int = 128
    hash_layers: int = 1
    route_scale: float = 1.5
    swiglu_limit: float = 10.0
    eps: float = 1e-6
    hc_eps: float = 1e-6
    max_position: int = 65536
    draft_block: int = 5
    draft_rank: int = 64
    draft_stages: int = 3
    noise_id: int = 0  # set with the vocabulary

    @property
    def layers(self):
        return len(self.ratios)

    @property
    def draft_targets(self):
        return list(range(self.layers - 3, self.layers))

    def json(self, draft):
        """config.json, as a dictionary. draft: "dspark", "mtp"."""
        stages = self.draft_stages if draft == "dspark" else 1
        out = {
            "architectures": ["DeepseekV4ForCausalLM"],
            "model_type": "deepseek_v4",
            "vocab_size": self.vocab,
            "hidden_size": self.dim,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": 1,
            "head_dim": HEAD,
            "qk_rope_head_dim": ROPE,
            "q_lora_rank": self.q_rank,
            "o_groups": self.o_groups,
            "o_lora_rank": self.o_rank,
            "index_n_heads": self.index_heads,
            "index_head_dim": INDEX,
            "index_topk": self.index_topk,
            "sliding_window": WINDOW,
            "compress_ratios": list(self.ratios) + [0] * stages,
            "hc_mult": STREAMS,
            "hc_sinkhorn_iters": SINKHORN,
            "hc_eps": self.hc_eps,
            "rms_norm_eps": self.eps,
            "n_routed_experts": self.experts,
            "n_shared_experts": 1,
            "num_experts_per_tok": self.active,
            "moe_intermediate_size": self.moe_dim,
            "num_hash_layers": self.hash_layers,
            "scoring_func": "sqrtsoftplus",
            "topk_method": "noaux_tc",
            "norm_topk_prob": True,
            "routed_scaling_factor": self.route_scale,
            "swiglu_limit": self.swiglu_limit,
            "hidden_act": "silu",
            "rope_theta": 10000,
            "compress_rope_theta": 160000,
            "rope_scaling": {
                "type": "yarn",
                "factor": 16,
                "original_max_position_embeddings": 65536,
                "beta_fast": 32,
                "beta_slow": 1,
            },
            "max_position_embeddings": self.max_position,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "num_nextn_predict_layers": 1,
            "torch_dtype": "bfloat16",
            "expert_dtype": "fp4",
            "quantization_config": {
                "quant_method": "fp8",
                "fmt": "e4m3",
                "activation_scheme": "dynamic",
                "scale_fmt": "ue8m0",
                "weight_block_size": [128, 128],
            },
        }
        if draft == "dspark":
            out["dspark_block_size"] = self.draft_block
            out["dspark_noise_token_id"] = self.noise_id
            out["dspark_target_layer_ids"] = self.draft_targets
            out["dspark_markov_rank"] = self.draft_rank
        return out

    @staticmethod
    def load(path):
        """Read the shapes back from a config.json that json() wrote."""
        with open(path, encoding="utf-8") as f:
            j = json.load(f)
        n = j["num_hidden_layers"]
        return Config(
            vocab=j["vocab_size"],
            dim=j["hidden_size"],
            ratios=tuple(j["compress_ratios"][:n]),
            heads=j["num_attention_heads"],
            q_rank=j["q_lora_rank"],
            o_groups=j["o_groups"],
            o_rank=j["o_lora_rank"],
            index_heads=j["index_n_heads"],
            index_topk=j["index_topk"],
            experts=j["n_routed_experts"],
            active=j["num_experts_per_tok"],
            moe_dim=j["moe_intermediate_size"],
            hash_layers=j["num_hash_layers"],
            route_scale=j["routed_scaling_factor"],
            swiglu_limit=j["swiglu_limit"],
            max_position=j["max_position_embeddings"],
            draft_rank=j.get("dspark_markov_rank", 64),
            noise_id=j.get("dspark_noise_token_id", 0),
        )
