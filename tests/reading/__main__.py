"""Draw texts of the product at random, for a person who reads them: `make sample`.

Each should be plain English: docstrings in the imperative, errors that say what to do.
"""

import argparse
import random
from collections import Counter

from tests.reading import contracts, python_code, templates
from tests.reading.text import DOCSTRING, ERROR, UI, Text
from tests.reading.words import complaints

SIZES = {DOCSTRING: 40, UI: 40, ERROR: 20}


def check_words(texts: list[Text]) -> None:
    """Print each text that uses a word of the list, and how many by folder."""
    folders: Counter[str] = Counter()
    for text in sorted(texts):
        for complaint in complaints(text):
            folders["/".join(text.path.split("/")[:2])] += 1
            print(f"{text.path}:{text.line}: {complaint}\n    {text.words}")
    print(
        folders.total(),
        *(f"\n{count:5} {name}" for name, count in folders.most_common()),
    )


def main() -> None:
    """Print a sample, or everything that a sample is drawn from."""
    parser = argparse.ArgumentParser(prog="python -m tests.reading")
    parser.add_argument("--seed", type=int, help="draws the same texts again")
    parser.add_argument("--path", default="", help="only files whose path has this")
    parser.add_argument("--all", action="store_true", help="print every text")
    parser.add_argument("--words", action="store_true", help="check the word list")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    texts = [*python_code.texts(), *templates.texts(), *contracts.texts()]
    if options.words:
        check_words([text for text in texts if options.path in text.path])
        return
    for kind, size in SIZES.items():
        pool = sorted(t for t in texts if t.kind == kind and options.path in t.path)
        drawn = random.Random(f"{seed}{kind}").sample(pool, min(size, len(pool)))
        chosen = pool if options.all else sorted(drawn)
        print(f"\n== {kind}: {len(chosen)} of {len(pool)}, seed {seed}")
        for text in chosen:
            print(f"{text.path}:{text.line}: {text.words}")


if __name__ == "__main__":
    main()
