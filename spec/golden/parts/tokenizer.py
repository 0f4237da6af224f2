"""tokenizer/clip: prompts, ids and decoded texts of transformers; and models/clip-tokenizer/merges.txt.gz, from open_clip."""
import gzip
import importlib.util
import json
import random
import tempfile
import unicodedata
from pathlib import Path

from transformers import CLIPTokenizer

from generate import HERE, save

# One a line, with escapes.
PROMPTS = r"""
a photo of an astronaut riding a horse on mars
A Photo of AN ASTRONAUT
portrait photo of a old warrior chief, tribal panther make up, blue on red, side profile, looking away, 50mm portrait photography --ar 2:3
masterpiece, (best quality:1.3), [deformed | disfigured], 8k, uhd, ((intricate))
don't can't won't I'm you're they've he'll she'd it's
DON'T CAN'T I'M YOU'RE
'tis 'twas rock'n'roll o'clock 's 't 're 've 'm 'll 'd
it's'll've''s
don\u2019t it\u2019s \u2018quoted\u2019 \u201cdouble\u201d \u00abguillemets\u00bb
1 12 123 1234567890 3.14159 1,000,000 -42 1e-5 0x1F
\u0661\u0662\u0663 \u0967\u0968\u0969 \uff11\uff12\uff13 \u00bd \u00b2 \u2167 \u2460 \u3007
abc123def 4k 8K 35mm f1.8 1girl
hello, world! how are you? fine... (ok) [yes] {no} <maybe> "quoted" 'single'
!!! ??? ... --- ___ *** ### $$$ %%% ^^^ &&& @@@ ~~~ ``` ||| \\\\ // ;;; :::
!
!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
wow! great!! yes!!!
! ! a!b
http://example.com/path?query=1&other=2#fragment user@example.com
C:\\Users\\name\\file.txt ~/home/file.tar.gz
&lt;b&gt;bold&lt;/b&gt; &amp; &quot;quotes&quot; &#39;x&#39; &nbsp; &amp;amp;
<b>bold</b> <img src="a.png"/> <!-- comment --> <|notaspecial|> <| endoftext |>
a <|endoftext|> b
<|startoftext|> a cat <|endoftext|>
<|endoftext|><|endoftext|>
a<|endoftext|>b<|startoftext|>c
<|ENDOFTEXT|> <|StartOfText|>
<|endoftext| |endoftext|> <<|endoftext|>>
caf\u00e9 cafe\u0301 na\u00efve nai\u0308ve r\u00e9sum\u00e9 re\u0301sume\u0301
\u00c5ngstr\u00f6m A\u030angstro\u0308m \u212bngstrom
\u1e69 s\u0323\u0307 s\u0307\u0323 \u1e9b\u0323
\u00c0\u00c1\u00c2\u00c3\u00c4\u00c5\u00c6\u00c7\u00c8\u00c9 \u00e0\u00e1\u00e2\u00e3\u00e4\u00e5\u00e6\u00e7\u00e8\u00e9
stra\u00dfe STRASSE \u1e9e STRA\u1e9eE
\u0130stanbul Istanbul \u0131stanbul \u0130\u0130
\u039f\u0394\u039f\u03a3 \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u03a3 \u03a3\u03a3 \u039f\u0394\u039f\u03a3.
\u0391\u0392\u0393 \u03b1\u03b2\u03b3 \u1f08\u03c7\u03b9\u03bb\u03bb\u03b5\u03cd\u03c2 \u1fb3 \u1fbc \u1f80
\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u041a\u043e\u0442 \u043d\u0430 \u043a\u0440\u044b\u0448\u0435
\u0439 \u0438\u0306 \u0451 \u0435\u0308 \u0407
\u4e00\u53ea\u732b\u5750\u5728\u6c99\u53d1\u4e0a
\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u30ab\u30bf\u30ab\u30ca \u3072\u3089\u304c\u306a
\u304c \u304b\u3099 \u30d1 \u30cf\u309a
\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8 \u1112\u1161\u11ab\u1100\u116e\u11a8
\uff21\uff22\uff23 \uff41\uff42\uff43 \uff76\uff77\uff78 \ufb01 \ufb02 \ufb03
\u5c71\u3001\u6c34\u3002\u300c\u98a8\u300d\u3010\u706b\u3011
\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u0642\u0637\u0629
\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u05d7\u05ea\u05d5\u05dc
\u200fright to left\u200f \u202bembedded\u202c \u2066isolated\u2069 mixed \u05e9\u05dc\u05d5\u05dd abc
\u0939\u093f\u0928\u094d\u0926\u0940 \u092a\u093e\u0920 \u0e44\u0e17\u0e22 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd
\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8 \u1c90\u1c91 \u0540\u0561\u0575\u0565\u0580\u0565\u0576 \u13a0\u13a1 \uab70
\U0001f600 \U0001f431 \U0001f680\U0001f30c \u2764\ufe0f \u2764 \u2b50
\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7
a\U0001f431cat \U0001f431\U0001f431\U0001f431 cat\U0001f431
#\ufe0f\u20e3 1\ufe0f\u20e3 \u00a9\ufe0f \u2122 \u00ae
\U0001d4b6\U0001d4b7\U0001d4b8 \U0001d538 \U0001d7d8\U0001d7d9 \U00020000\U0002a6d6
\U00010400\U00010428 \U000118a0
\u0000 a\u0000b \u0001\u0002\u0003
a\u0007b\u0008c\u001bd \u007f \u0080\u0081 \u009f
a\u0085b \u0085 a \u0085 b
a\u00a0b \u1680 \u2000\u2001\u2002\u2003\u2009\u200a a\u2028b\u2029c \u202f \u205f \u3000x
a\ufeffb \ufeff !\ufeff! \ufeffstart
a\u200bb zero\u200dwidth soft\u00adhyphen \u2060 \u180e
\ufffd \ufffe \uffff \U0010ffff \ue000
tabs\tand\nnewlines\r\nand\x0bvertical\x0cfeeds
\x1c \x1d a\x1eb\x1fc
\t\n\r
 leading and trailing 
multiple   spaces     between      words
 
   
.
,
a
\u00e9
0
'
"
<
|
_
a_b __init__ snake_case_name camelCaseName kebab-case-name
\u2013 \u2014 \u2026 \u2022 \u2020 \u2021 \u2030 \u2032 \u2033
\u20ac\u00a3\u00a5\u20bf \u00b1\u00d7\u00f7 \u2260\u2264\u2265 \u221e \u2211 \u222b \u2192 \u21d2
\u2500\u2502\u250c\u2510 \u2588\u2593\u2592\u2591 \u25a0\u25cf\u2605
\u0300 \u0301abc \u0308\u0301 a\u0300\u0301\u0302\u0303
Z\u0351\u036b\u0343\u036aa\u030al\u0321g\u0338o\u0489
\u02bc \u02b0 \u00aa \u00ba \u0345 \u00b5
\u01c5 \u01c4 \u01c6 \u0149 \u01f0
K\u212a \u2126 \u00c5\u212b
\u1e00\u1e01 \u1ea0\u1ea1 Ti\u1ebfng Vi\u1ec7t Tie\u0302\u0301ng
{"json": [1, 2, {"a": null}]}
def f(x): return x**2 if x > 0 else -x
SELECT * FROM t WHERE a='b'; -- comment
\\n \\t \\u0041 %20 %s {0} ${x}
pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
abababababababababababababababababababababababababababababababababab
xqzjkvwxqzjkvwxqzjkvw
the the the the
lol :) :-) ;) :D xD <3 ^_^ T_T \u00af\\_(\u30c4)_/\u00af
lowercase UPPERCASE MiXeD cASE iPhone eBay McDonald
U.S.A. e.g. i.e. Dr. Mr. a.m. p.m. Ph.D.
50% $100 \u20ac50 #hashtag @mention C++ C# .NET AT&T R&D
10:30 2024-01-31 31/01/2024 +1-800-555-0199 192.168.0.1
x^2+y^2=r^2 a/b a|b a&b a~b
by greg rutkowski, artgerm, trending on artstation, octane render, unreal engine 5
constructor __proto__ toString hasOwnProperty valueOf
null undefined NaN true false None
</w> a</w>b <unk> <pad> [CLS] [SEP] [MASK]
\u0120 \u010a \u0122 \u0143 \u0100
""".split("\n")[1:-1]


def prompts():
    cases = [line.encode("ascii").decode("unicode_escape") for line in PROMPTS]
    cases += [
        "", " ", "a cat " * 60, "very " * 75 + "end", "word " * 74 + "last", "word " * 75, "word " * 76, "\U0001f431" * 40,
        "\u732b" * 100, "a" * 3000, ("lorem ipsum dolor sit amet, consectetur " * 30).strip(), "7" * 200, "a. " * 80,
    ]
    rng = random.Random(0)
    ranges = [(0x20, 0x7E)] * 6 + [(0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF),
                                   (0x3000, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFE00, 0xFFEF), (0x1F300, 0x1F64F), (0, 0xFF)]
    for _ in range(120):
        words = ["".join(assigned(rng, ranges) for _ in range(rng.randint(1, 9))) for _ in range(rng.randint(1, 12))]
        cases.append(rng.choice([" ", "  ", "", "\n", "'s ", "!"]).join(words))
    return cases


def assigned(rng, ranges):
    """A character that Unicode 14 has: what a newer one calls a letter depends on the version of each engine."""
    while unicodedata.category(c := chr(rng.randint(*rng.choice(ranges)))) == "Cn":
        pass
    return c


def merges():
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]  # not imported: only its data is wanted
    with gzip.open(Path(package) / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        return file.read().split("\n")[1:49152 - 256 - 2 + 1]


def vocabulary(merges):
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = letters + [c + "</w>" for c in letters] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}


def flags(content, **flags):
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, **flags}


def token(content):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


NAMED = {"bos_token": token("<|startoftext|>"), "eos_token": token("<|endoftext|>"), "unk_token": token("<|endoftext|>")}
SD1 = {"add_prefix_space": False, **NAMED, "do_lower_case": True, "errors": "replace", "model_max_length": 77, "pad_token": "<|endoftext|>",
       "tokenizer_class": "CLIPTokenizer"}
MAP = {name: {k: v for k, v in value.items() if k != "__type"} for name, value in NAMED.items()}
FOLDERS = {  # the files beside vocab.json and merges.txt, as the hub has them
    "sd1": {"tokenizer_config.json": SD1, "special_tokens_map.json": {**MAP, "pad_token": "<|endoftext|>"}},
    "sd2": {"tokenizer_config.json": SD1, "special_tokens_map.json": {**MAP, "pad_token": "!"}},
    "plain": {"tokenizer_config.json": {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}},
    "decoder": {"tokenizer_config.json": {
        "added_tokens_decoder": {
            "49406": {**MAP["bos_token"], "special": True}, "49407": {**MAP["eos_token"], "normalized": False, "special": True},
            "49408": {**MAP["bos_token"], "content": "<Style>", "normalized": False}, "49409": {**MAP["bos_token"], "content": "cattoy"}},
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
        "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}},
    # what transformers before 4.34 saved: learned words in a file of their own, which is not in order
    "old": {"tokenizer_config.json": SD1, "special_tokens_map.json": {**MAP, "pad_token": "<|endoftext|>"},
            "added_tokens.json": {"<cat-toy>": 49409, "<Style>": 49408, "two  Words": 49410, "cattoy": 49411}},
    "old, without a config": {"added_tokens.json": {"<|endoftext|>": 49407, "<cat-toy>": 49420, "<x>": 49412}},
    "flags": {"tokenizer_config.json": {"model_max_length": 77, "added_tokens_decoder": {
        "49408": flags("<cat-toy>", lstrip=True), "49409": flags("<Style>", rstrip=True, normalized=False), "49410": flags("cat", single_word=True),
        "49411": flags(" x ", special=True), "49412": {"content": "Toy"}, "49413": {"content": "Two", "special": True}, "49420": flags("ca")}}},
    "single words": {"tokenizer_config.json": {"model_max_length": 77, "added_tokens_decoder": {
        "49408": flags("<cat-toy>", single_word=True, lstrip=True, rstrip=True), "49409": flags("cattoy", single_word=True, normalized=False),
        "49410": flags("\u732b", single_word=True), "49411": flags("(x)"), "49412": flags("$.*"), "49413": flags("a|b")}}},
    "special": {"tokenizer_config.json": {"additional_special_tokens": ["<cat-toy>"], "mask_token": "<mask>", "toy_token": "cattoy", "unk_token": "!"},
                "special_tokens_map.json": {"pad_token": flags("<pad>", single_word=True), "extra_special_tokens": ["<Style>", flags("two words")]},
                "added_tokens.json": {"<cat-toy>": 49408, "<mask>": 49409}},
    "special of the map": {"special_tokens_map.json": {"additional_special_tokens": ["<cat-toy>", "<Style>"], "eos_token": "<eos>", "pad_token": "!"},
                           "added_tokens.json": {"<cat-toy>": 320}},
    "named otherwise": {"tokenizer_config.json": {"extra_special_tokens": {"style_token": "<Style>"}, "cls_token": {"__type": "AddedToken", "content": "cattoy"}}},
}


def reference(tokenizer, texts):
    """[padded and cut ids without the padding, all ids without bos and eos, the decoded text of those] per text"""
    cut = tokenizer(texts, padding="max_length", truncation=True, max_length=77).input_ids
    assert all(len(ids) == 77 for ids in cut)
    whole = tokenizer(texts, padding=False, truncation=False).input_ids
    for short, long in zip(cut, whole):
        assert short == (long[:76] + long[-1:] if len(long) > 77 else long + [tokenizer.pad_token_id] * (77 - len(long)))
    return {
        "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id,
        "modelMaxLength": min(tokenizer.model_max_length, 77),  # 1e30 where no file says it: CLIP's, then
        "ids": [ids[1:-1] for ids in whole],
        "decoded": [tokenizer.decode(ids[1:-1]) for ids in whole],
    }


def generate():
    folder = HERE / "tokenizer"
    folder.mkdir(exist_ok=True)
    rules = merges()
    (HERE.parents[1] / "models/clip-tokenizer/merges.txt.gz").write_bytes(gzip.compress("\n".join(["#version: 0.2", *rules, ""]).encode(), 9, mtime=0))
    texts = prompts()
    extra = ["a <Style> cat", "a<style>b <STYLE>", "cattoy CatToy acattoys", "a ! b", "<|ENDOFTEXT|> <|StartOfText|>", "a <|endoftext|>  b", "!<|endoftext|>!",
             "a <cat-toy> backpack", "A <CAT-TOY>  x<cat-toy>y \t<cat-toy>\n<cat-toy>", "<Style>  x  <Style> x <style>\u0085x ", "two words Two  WORDS two\nwords two-words",
             "cat Cat acat cats a cat! cat_ cat1 \u00e9cat cat\u0301 \u200dcat cat\u00b2 cat\U0001f431 \U0001d4b6cat catcat ca", "a cattoy's cattoy-s cattoy", "toy TOYS Two two",
             "<mask> <pad> <PAD> a<pad>b <eos> <x>", "\u732b\u732b \u732b.\u732b", "(X) $.* a|b A|B (x"]
    meta = {"prompts": texts, "extra": extra, "folders": {}}
    with tempfile.TemporaryDirectory() as tmp:
        for name, files in FOLDERS.items():
            path = Path(tmp) / name
            path.mkdir()
            for file, content in {"vocab.json": vocabulary(rules), **files}.items():
                (path / file).write_text(json.dumps(content))
            (path / "merges.txt").write_text("\n".join(["#version: 0.2", *rules, ""]), encoding="utf-8")
            tokenizer = CLIPTokenizer.from_pretrained(path)
            meta["folders"][name] = {"files": files, **reference(tokenizer, texts if name in ("sd1", "sd2") else extra), "extra": reference(tokenizer, extra)}
        small = vocabulary(rules[:129])
        CLIPTokenizer(vocab=small, merges=[tuple(rule.split()) for rule in rules[:129]], model_max_length=77).save_pretrained(Path(tmp) / "json")
        files = {name: json.loads((Path(tmp) / "json" / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json")}
        files["tokenizer.json"]["added_tokens"].append({"id": len(small), **flags("<cat-toy>", single_word=True), "special": False})
        files["added_tokens.json"] = {"<Style>": len(small) + 1, "<mask>": len(small)}
        for name, content in files.items():
            (Path(tmp) / "json" / name).write_text(json.dumps(content))
        tokenizer = CLIPTokenizer.from_pretrained(Path(tmp) / "json")
        meta["folders"]["json"] = {"files": files, **reference(tokenizer, texts), "extra": reference(tokenizer, extra)}
    save("tokenizer/clip", {}, meta)
