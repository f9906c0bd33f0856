"""Fault test 14: threads of one process that read, predict, extract and commit, while compact merges what they read."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fakes import coloured
from faulty import RECIPE, Fake, alone, gallery, key, script, unit, vectors

from fc7.cache import Store
from fc7.cache.maintenance import compact
from fc7.cache.verify import verify
from fc7.classify import Bundle, fit
from fc7.extract import extract, load_backbone, read_manifest

UNIT = 4  # rows
READERS = 3


def test_threads_beside_compact(tmp_path, size, figure):
    found = alone(__file__, "campaign", root=tmp_path, rounds=size(2, 100))
    figure(
        "Threads of one process beside compact",
        f"{found['rounds']} x compact; meanwhile {READERS} threads read {found['read']} rows of one store, 2 predict "
        f"{found['predicted']} times, 2 extract {found['extracted']} times, one commits {found['committed']} shards",
        f"{found['wrong']} wrong rows, {found['others']} answers other than those of one thread, {found['errors']} "
        f"errors, {found['missing']} rows missing in the end",
    )
    bad = ("wrong", "others", "errors", "missing", "damaged")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0), "\n".join(found["said"])
    assert min(found[name] for name in ("read", "predicted", "extracted", "committed")) > 0


class Threads:
    """What the threads do, again and again until all is over, and what they have found."""

    def __init__(self, root):
        self.cache, self.pictures = root / "cache", read_manifest(gallery(root / "pictures", 8))
        self.paths = sorted(coloured(root / "data", 4).glob("*/*.png"))
        self.bundle = bundle_of(root)
        self.answers = [answer.probabilities for answer in self.bundle.predict(self.paths, cache=root / "alone")]
        self.right = extract(self.pictures, Fake(), cache=root / "alone").vectors
        self.store, self.committed = Store(RECIPE, self.cache), 0
        self.over, self.lock = threading.Event(), threading.Lock()
        self.found = dict.fromkeys(("wrong", "others", "errors", "read", "predicted", "extracted", "committed"), 0)
        self.said = []
        self.commit(0)

    def count(self, **numbers):
        with self.lock:
            for name, number in numbers.items():
                self.found[name] += int(number)

    def read(self, seed):
        numbers = random.Random(seed).sample(range(self.committed), UNIT)
        self.count(read=UNIT, wrong=different(self.store.rows([key(n) for n in numbers]), vectors(numbers)))

    def predict(self, seed):
        answers = [answer.probabilities for answer in self.bundle.predict(self.paths, cache=self.cache)]
        self.count(predicted=1, others=answers != self.answers)

    def extract(self, seed):
        """Compute the rows of one of a few recipes, or read them where another turn has computed them."""
        table = extract(self.pictures, Fake(weights=f"{seed % 8:064x}"), cache=self.cache)
        self.count(extracted=1, wrong=different(table.vectors, self.right))

    def commit(self, seed):
        self.store.append(unit(range(self.committed, self.committed + UNIT)))
        self.committed += UNIT
        self.count(committed=1)

    def keep_on(self, work, seed):
        while not self.over.is_set():
            try:
                work(seed)
            except Exception as error:
                self.count(errors=1)
                self.said.append(f"{work.__name__}: {type(error).__name__}: {error}")
                return
            seed += 101


def different(rows, expected):
    return (rows != expected).any(axis=1).sum()


def campaign(root, rounds):
    threads = Threads(Path(root))
    works = [*[threads.read] * READERS, *[threads.predict, threads.extract] * 2, threads.commit]
    with ThreadPoolExecutor(len(works)) as pool:
        for seed, work in enumerate(works):
            pool.submit(threads.keep_on, work, seed)
        for _ in range(rounds):
            before = threads.committed
            while threads.committed == before and not threads.said:
                threads.over.wait(0.001)
            compact(threads.cache)
        threads.over.set()
    numbers = range(threads.committed)
    again = Store(RECIPE, threads.cache)
    there = [n for n in numbers if key(n) in again]
    threads.count(wrong=different(again.rows([key(n) for n in there]), vectors(there)))
    return threads.found | {
        "rounds": rounds,
        "missing": len(numbers) - len(there),
        "damaged": len(verify(threads.cache, deep=True).damaged),
        "said": threads.said,
    }


def bundle_of(root):
    """Return a bundle whose small network has random weights."""
    options = {"weights": "random:0", "image_size": (64, 64), "cache": root / "alone"}
    embeddings = extract(
        read_manifest(root / "data"), load_backbone("squeezenet1_1", "gap", **options), cache=root / "alone"
    )
    return Bundle.of(fit(embeddings, "ridge", folds=2))


if __name__ == "__main__":
    script(globals())
