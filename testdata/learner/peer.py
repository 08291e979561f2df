"""XGBoost's side of the comparison; a helper of testdata/learner.

Reads one JSON request a line from standard input and answers with one line of
JSON. Requests:

  {"do": "load", "train": FILE, "test": FILE, "features": N, "threads": N}
      CSV with a header line: the label, N features, further columns that are
      not read.
  {"do": "train", "params": {...}, "trees": N, "base_rate": true, "out": FILE}
      Trains; writes the raw score of each test row, one a line, to FILE.
  {"do": "explain", "params": {...}, "trees": N, "base_rate": true, "rows": N}
      Trains, the first time, and explains the first test rows on one thread:
      the time of that alone.
  {"do": "file", "train": FILE, "params": {...}, "trees": N, "threads": N, "out": FILE}
      From a CSV file without a header to a trained model in a file, by
      XGBoost's own reader: the whole way.
  {"do": "version"}
"""

import json
import resource
import sys
import time

import numpy
import xgboost


def load(path, features, threads):
    with open(path) as f:
        table = numpy.loadtxt(f, delimiter=",", skiprows=1, dtype=numpy.float32, usecols=range(features + 1), ndmin=2)
    return xgboost.DMatrix(table[:, 1:], label=table[:, 0], nthread=threads)


def boost(params, matrix, trees):
    """Trains and returns the booster with the seconds of each iteration."""
    booster = xgboost.Booster(params, [matrix])
    seconds = []
    for tree in range(trees):
        start = time.perf_counter()
        booster.update(matrix, tree)
        seconds.append(time.perf_counter() - start)
    return booster, seconds


class Peer:
    explainer = None

    def load(self, r):
        self.train_matrix = load(r["train"], r["features"], r["threads"])
        self.test_matrix = load(r["test"], r["features"], r["threads"])
        return {"rows": self.train_matrix.num_row()}

    def params(self, r):
        params = dict(r["params"])
        if r.get("base_rate"):
            params["base_score"] = float(self.train_matrix.get_label().mean())
        return params

    def explain(self, r):
        if self.explainer is None:
            self.explainer, _ = boost(self.params(r), self.train_matrix, r["trees"])
            self.explainer.set_param({"nthread": 1})
        rows = self.test_matrix.slice(range(r["rows"]))
        start = time.perf_counter()
        self.explainer.predict(rows, pred_contribs=True)
        return {"seconds": time.perf_counter() - start}

    def train(self, r):
        params = self.params(r)
        start = time.perf_counter()
        booster, seconds = boost(params, self.train_matrix, r["trees"])
        took = time.perf_counter() - start
        if r.get("out"):
            scores = booster.predict(self.test_matrix, output_margin=True)
            numpy.savetxt(r["out"], scores, fmt="%.9g")
        return {"seconds": took, "first": seconds[0]}

    def file(self, r):
        start = time.perf_counter()
        matrix = xgboost.DMatrix(r["train"] + "?format=csv&label_column=0", nthread=r["threads"])
        booster, _ = boost(r["params"], matrix, r["trees"])
        booster.save_model(r["out"])
        return {"seconds": time.perf_counter() - start, "rows": matrix.num_row()}

    def version(self, r):
        return {"version": xgboost.__version__}


def main():
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request["do"])(request)
        answer["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(answer), flush=True)


main()
