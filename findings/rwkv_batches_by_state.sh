#!/bin/sh
# transformers 5.24.0 with torch 2.14.1: RWKV, asked for one more token with its state, mixes the rows of a batch.
#
# Guess: a recurrent language model with its state gives the logits of the whole text, [batch, 1, vocabulary] a step, whatever the other rows are.
# Seen: the logits of a step are [4, 4, vocabulary] for a batch of 4, since the state's last hidden vectors [batch, width] are mixed with those of
# the step [batch, 1, width], which makes as many places as there are rows; deeper layers take them for a text. `generate` reads the last place: no
# row of the batch gets the tokens that it gets alone, and there is no warning. Rows alone are right.
#
# Output seen:
#   logits of a step: [4, 4, 50] (one row: [1, 1, 50])
#   one row by its state, from the whole text at once: below 1e-4
#   rows of 4 that generate as they do alone: 0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 transformers==5.24.0 numpy==2.4.6
cat >"$folder/show.py" <<'PYTHON'
import torch
import transformers
from transformers import RwkvConfig, RwkvForCausalLM

transformers.logging.set_verbosity_error()
torch.manual_seed(0)
sizes = {"hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
model = RwkvForCausalLM(RwkvConfig(vocab_size=50, context_length=64, bos_token_id=0, eos_token_id=0, **sizes)).eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.add_(0.5 * torch.randn_like(parameter))
    tokens = torch.randint(1, 50, (4, 8))

    def step(rows):
        state = model(rows[:, :7], use_cache=True).state
        return model(rows[:, 7:], state=state, use_cache=True).logits

    print(f"logits of a step: {list(step(tokens).shape)} (one row: {list(step(tokens[:1]).shape)})")
    apart = max((step(row)[:, -1] - model(row).logits[:, -1]).abs().max().item() for row in tokens.split(1))
    print(f"one row by its state, from the whole text at once: {'below 1e-4' if apart < 1e-4 else apart}")
    asked = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    together = model.generate(tokens, attention_mask=torch.ones_like(tokens), **asked)
    alone = [model.generate(row, attention_mask=torch.ones_like(row), **asked)[0] for row in tokens.split(1)]
    equal = [torch.equal(one, other) for one, other in zip(together, alone)]
    print(f"rows of 4 that generate as they do alone: {sum(equal)}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/show.py" 2>/dev/null)
echo "$seen"
expected='logits of a step: [4, 4, 50] (one row: [1, 1, 50])
one row by its state, from the whole text at once: below 1e-4
rows of 4 that generate as they do alone: 0'
if [ "$seen" = "$expected" ]; then echo "as found: the rows of a batch are mixed"; else echo "changed: expected
$expected"; exit 1; fi
