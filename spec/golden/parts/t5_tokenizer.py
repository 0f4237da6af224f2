"""tokenizer/t5: a small vocabulary as a tokenizer.json, and the ids and decoded texts that transformers gives with it."""
import io
import json
import random
import tempfile
from pathlib import Path

import sentencepiece
from transformers import T5Tokenizer

from generate import save
from parts.tokenizer import PROMPTS, assigned, flags, merges

SENTINELS = 5


def fields(message):
    """The numbers of the fields of a protobuf message, with what they hold, for which no package is needed."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(tag & 7) or varint()
        yield tag >> 3, message[at:at + size]
        at += size


def train(**options):
    """A model of the words of CLIP's vocabulary, and of texts in many scripts."""
    words = [rule.replace(" ", "").removesuffix("</w>") for rule in merges() if rule.endswith("</w>")]
    words = [word for word in words[:12000] if word.isascii()]
    lines = [" ".join(words[i:i + 12]) for i in range(0, len(words), 12)] + [line for line in prompts() if "\0" not in line]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=500, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=0.99, num_threads=1, minloglevel=2, **options)
    return model.getvalue()


def charsmap(proto):
    return dict(fields(dict(fields(proto))[3]))[2]


def rules(map):
    """What a double-array trie of SentencePiece replaces, and by what."""
    size = int.from_bytes(map[:4], "little")
    units = [int.from_bytes(map[4 + i:8 + i], "little") for i in range(0, size, 4)]
    ends, found, open = map[4 + size:], {}, [(0, b"")]
    while open:
        at, key = open.pop()
        at ^= units[at] >> 10 << ((units[at] & 512) >> 6)
        for byte in range(1, 256):
            child = at ^ byte
            if child >= len(units) or units[child] & 0x800000FF != byte:
                continue
            if units[child] & 256:
                begin = units[child ^ units[child] >> 10 << ((units[child] & 512) >> 6)] & 0x7FFFFFFF
                found[key + bytes([byte])] = ends[begin:ends.index(0, begin)]
            open.append((child, key + bytes([byte])))
    return {key.decode(): value.decode() for key, value in found.items()}


def fewer(all):
    """Of 225,000 rules, most of them of sequences of Hangul, as many as fit: of most kinds some."""
    rng = random.Random(0)
    kept = {k: v for k, v in all.items() if all_below(k, 0x250) or (len(k) == 1 and (ord(k) < 0x2100 or 0x3000 <= ord(k) < 0x3100 or 0xFE00 <= ord(k) < 0x1D000))}
    others = sorted(set(all) - set(kept))
    return {**kept, **{k: all[k] for k in rng.sample(others, 400)}}


def all_below(text, end):
    return all(ord(c) < end or 0x300 <= ord(c) < 0x330 for c in text)


def prompts():
    return [line.encode("ascii").decode("unicode_escape") for line in PROMPTS]


def texts(keys):
    rng = random.Random(1)
    ranges = [(0x20, 0x7E)] * 6 + [(0, 0xFF), (0xA0, 0x24F), (0x300, 0x32F), (0x300, 0x32F), (0x370, 0x52F), (0x600, 0x605), (0x900, 0xDFF), (0x2000, 0x206F), (0x20D0, 0x20F0),
                                   (0x3000, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFE00, 0xFFEF), (0x1F300, 0x1F64F), (0x1F1E6, 0x1F1FF)]
    pieces = ["<extra_id_0>", "<extra_id_4>", "<extra_id_99>", "</s>", "<pad>", " <unk>\t", "\r\n", "  ", "\u2581", "\u2581\u2581", "the", "photo", "\U0001f468\u200d\U0001f469"]
    cases = prompts() + ["", " ", "\u2581", "a\u2581b \u2581 c\u2581", "a cat " * 60, "\u732b" * 50, "\u0301" * 300, "e\u0301", "\u0600a\u0301", "<unk>\u732b<unk>", "a" * 500]
    for _ in range(150):
        words = ["".join(rng.choice(pieces) if rng.random() < 0.1 else rng.choice(keys) if rng.random() < 0.2 else assigned(rng, ranges) for _ in range(rng.randint(1, 9)))
                 for _ in range(rng.randint(1, 8))]
        cases.append(rng.choice([" ", "  ", "", "\n", "\t"]).join(words))
    return cases


def folders(size):
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    sentinels = [f"<extra_id_{i}>" for i in range(SENTINELS)]
    special = lambda content, **more: flags(content, normalized=False, special=True, **more)
    decoder = {str(i): special(content) for i, content in enumerate(("<pad>", "</s>", "<unk>"))}
    decoder.update({str(size - 1 - i): special(content) for i, content in enumerate(sentinels)})
    hub = {**names, "add_prefix_space": True, "clean_up_tokenization_spaces": True, "extra_ids": SENTINELS, "legacy": True, "model_max_length": 512, "tokenizer_class": "T5Tokenizer"}
    return {  # the files beside tokenizer.json
        "hub": {"tokenizer_config.json": {**hub, "added_tokens_decoder": decoder, "additional_special_tokens": sentinels},
                "special_tokens_map.json": {**{k: flags(v, normalized=False) for k, v in names.items()}, "additional_special_tokens": sentinels}},
        "old": {"tokenizer_config.json": {**names, "extra_ids": SENTINELS, "additional_special_tokens": sentinels, "model_max_length": 512},
                "special_tokens_map.json": {**names, "additional_special_tokens": sentinels}},
        "plain": {},
        "learned": {"tokenizer_config.json": {**hub, "clean_up_tokenization_spaces": False, "additional_special_tokens": sentinels, "added_tokens_decoder": {
            **decoder, str(size): flags("the photo", lstrip=True), str(size + 1): flags("\uff21B", single_word=True), str(size + 2): special("<Style>", rstrip=True)}}},
    }


def reference(tokenizer, texts):
    cut = tokenizer(texts, padding="max_length", truncation=True, max_length=77).input_ids
    whole = tokenizer(texts, padding=False, truncation=False).input_ids
    for short, long in zip(cut, whole):
        assert short == (long[:76] + long[-1:] if len(long) > 77 else long + [tokenizer.pad_token_id] * (77 - len(long)))
    return {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id, "unk": tokenizer.unk_token_id, "ids": whole, "decoded": [tokenizer.decode(ids) for ids in whole]}


def generate():
    kept = fewer(rules(charsmap(train(normalization_rule_name="nmt_nfkc"))))
    codes = lambda text: " ".join(f"{ord(c):X}" for c in text)
    meta = {"folders": {}}
    with tempfile.TemporaryDirectory() as tmp:
        tsv = Path(tmp) / "rules.tsv"
        tsv.write_text("".join(f"{codes(k)}\t{codes(v)}\n" for k, v in kept.items()))
        proto = train(normalization_rule_tsv=str(tsv))
        assert rules(charsmap(proto)) == kept
        pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
        vocab = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
        vocab += [(f"<extra_id_{i}>", 0.0) for i in reversed(range(SENTINELS))]
        T5Tokenizer(vocab=vocab, _spm_precompiled_charsmap=charsmap(proto), extra_ids=SENTINELS).save_pretrained(Path(tmp) / "t5")
        tokenizer_json = (Path(tmp) / "t5/tokenizer.json").read_text()
        meta["tokenizerJson"] = json.loads(tokenizer_json)
        meta["texts"] = texts(sorted(kept))
        for name, files in folders(len(vocab)).items():
            path = Path(tmp) / name
            path.mkdir()
            for file, content in {**files, "tokenizer.json": meta["tokenizerJson"]}.items():
                (path / file).write_text(json.dumps(content))
            used = meta["texts"] if name == "hub" else meta["texts"][::8] + ["the  photo thephoto \uff21b \uff21B aAB <Style>  x <style> the cat , isn't . <extra_id_4>x <extra_id_5>"]
            meta["folders"][name] = {"files": files, "texts": used, **reference(T5Tokenizer.from_pretrained(path), used)}
    save("tokenizer/t5", {}, meta)
