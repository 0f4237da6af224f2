"""models/t5_*: T5's text encoder with small random configs; models/buckets_t5: where it has its positions."""
import torch
from transformers import T5Config, T5EncoderModel
from transformers.models.t5.modeling_t5 import T5Attention

from generate import save
from parts.layers import randomize, weights

MODELS = {  # each with the shapes of its inputs
    "gated": (dict(vocab_size=37, d_model=20, d_kv=8, d_ff=28, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu"), ((2, 39), (1, 1))),
    "relu": (dict(vocab_size=31, d_model=12, d_kv=5, d_ff=17, num_layers=3, num_heads=4, feed_forward_proj="relu",
                  relative_attention_num_buckets=11, relative_attention_max_distance=20, layer_norm_epsilon=1e-3), ((3, 8), (1, 150))),
    "silu": (dict(vocab_size=11, d_model=8, d_kv=16, d_ff=12, num_layers=1, num_heads=1, feed_forward_proj="gated-silu",
                  relative_attention_num_buckets=8), ((1, 9),)),
}
BUCKETS = [(32, 128), (11, 20), (8, 128), (4, 2), (5, 600), (64, 1000), (100, 300), (31, 97)]


def models():
    for name, (config, shapes) in MODELS.items():
        model = randomize(T5EncoderModel(T5Config(**config)))
        tensors, batches = {f"weights/{k}": v for k, v in weights(model).items() if k != "encoder.embed_tokens.weight"}, []
        for r, shape in enumerate(shapes):
            ids = torch.randint(0, config["vocab_size"], shape)
            with torch.no_grad():
                tensors[f"{r}/last"] = model(ids).last_hidden_state
            batches.append(ids.tolist())
        save(f"models/t5_{name}", tensors, {"config": config, "inputIds": batches})


def buckets():
    """Of all distances in a text of 600 tokens, from the farthest before to the farthest behind."""
    distances = torch.arange(-599, 600)
    found = {f"{buckets} {most}": T5Attention._relative_position_bucket(distances, True, buckets, most).int() for buckets, most in BUCKETS}
    save("models/buckets_t5", found)


def generate():
    models(), buckets()
