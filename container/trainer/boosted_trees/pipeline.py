"""From a table to what the trees take: a scikit-learn pipeline that a schema describes completely.

So that a version can be used without unpickling anything: the pipeline is built anew from ``schema.json``.
"""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from trainer.errors import InputError
from trainer.tabular.schema import Schema

MODEL, PIPELINE = "model.bst", "model.joblib"
_MOST = float(np.finfo(np.float32).max)


def preprocessing(schema: Schema) -> ColumnTransformer:
    """Return the transformer from columns of raw values to floats, fitted to what the schema says.

    A category becomes its place in the vocabulary, NaN if it is not in it or missing; infinite numbers become
    the largest there are.

    :param schema: of the table.
    """
    categories = [c for c in schema.columns if c.kind == "category"]
    encoder = OrdinalEncoder(
        categories=[np.array(c.vocabulary or ("",), object) for c in categories],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    # Functions of NumPy alone: who unpickles the pipeline elsewhere does not have this package.
    limit = make_pipeline(
        FunctionTransformer(np.asarray, kw_args={"dtype": np.float64}),
        FunctionTransformer(np.clip, kw_args={"a_min": -_MOST, "a_max": _MOST}),
    )
    places = {
        kind: [at for at, c in enumerate(schema.columns) if c.kind == kind] for kind in ("category", "number")
    }
    transformer = ColumnTransformer(
        [("categories", encoder, places["category"]), ("numbers", limit, places["number"])]
    )
    example = [[(c.vocabulary or ("",))[0] if c.kind == "category" else 0.0 for c in schema.columns]]
    return transformer.fit(np.array(example, object))


def feature_types(schema: Schema) -> list[str]:
    """Return XGBoost's type of each feature in the transformer's order: ``c`` or ``q``."""
    kinds = [c.kind for c in schema.columns]
    return ["c"] * kinds.count("category") + ["q"] * kinds.count("number")


def feature_names(schema: Schema) -> list[str]:
    """Return the features' names in the transformer's order, as XGBoost can hold them."""
    ordered = [c for c in schema.columns if c.kind == "category"]
    ordered += [c for c in schema.columns if c.kind == "number"]
    return [c.name.translate(str.maketrans("[]<", "()_")) for c in ordered]


def encode(table: pa.Table, schema: Schema) -> np.ndarray:
    """Return what :func:`preprocessing` gives for a table, as float32, each distinct text encoded once.

    :param table: as it was read.
    :param schema: of the training rows.
    """
    parts = []
    for column in (c for c in schema.columns if c.kind == "category"):
        array = pa.chunked_array(table.column(column.name)).unify_dictionaries().combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0)
        place = {text: at for at, text in enumerate(column.vocabulary)}
        codes = [place.get(text, np.nan) for text in array.dictionary.to_pylist()]
        lookup = np.array([*codes, np.nan], np.float32)
        parts.append(lookup[np.asarray(array.indices.fill_null(len(codes)))])
    for column in (c for c in schema.columns if c.kind == "number"):
        values = np.asarray(table.column(column.name).combine_chunks(), np.float64)
        parts.append(np.clip(values, -_MOST, _MOST).astype(np.float32))
    return np.column_stack(parts)


def matrix(rows: np.ndarray, targets: np.ndarray | None, schema: Schema) -> xgboost.DMatrix:
    """Return rows as XGBoost takes them."""
    return xgboost.DMatrix(
        rows,
        targets,
        feature_names=feature_names(schema),
        feature_types=feature_types(schema),
        enable_categorical=True,
    )


def whole_pipeline(schema: Schema, booster: xgboost.Booster) -> Pipeline:
    """Return preprocessing and trees as one scikit-learn pipeline.

    :param schema: of the training rows.
    :param booster: the trees.
    """
    kind = xgboost.XGBClassifier if schema.task == "binary" else xgboost.XGBRegressor
    trees = kind(enable_categorical=True, feature_types=feature_types(schema))
    plain = booster.copy()
    # The pipeline gives the features without names.
    plain.feature_names = None
    trees.load_model(plain.save_raw("ubj"))
    return Pipeline([("preprocessing", preprocessing(schema)), ("trees", trees)])


class Scorer:
    """A version that predicts tables.

    :param folder: of the version.
    :param schema: of its training rows.
    :raises InputError: there is no such model in it.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.schema = schema
        try:
            self._booster = xgboost.Booster(model_file=bytearray((folder / MODEL).read_bytes()))
        except (OSError, xgboost.core.XGBoostError) as error:
            raise InputError(f"{MODEL} can't be read: {str(error).splitlines()[0]}") from error

    def predict(self, table: pa.Table) -> np.ndarray:
        """Return probabilities of the positive class, or predictions, float64."""
        rows = matrix(encode(table, self.schema), None, self.schema)
        return self._booster.predict(rows).astype(np.float64)


class PickledScorer:
    """A version's pickled pipeline, which predicts the same.

    :param path: of the pickle. Unpickling runs what it says.
    :param schema: of the training rows.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.schema = schema
        self._pipeline = joblib.load(path)

    def predict(self, table: pa.Table) -> np.ndarray:
        """Return probabilities of the positive class, or predictions, float64."""
        columns = [table.column(c.name).to_pylist() for c in self.schema.columns]
        rows = np.array([*zip(*columns, strict=True)], object)
        for at, column in enumerate(self.schema.columns):
            empty = [value is None for value in rows[:, at]]
            rows[empty, at] = "" if column.kind == "category" else np.nan
        if self.schema.task == "regression":
            return np.asarray(self._pipeline.predict(rows), np.float64)
        return np.asarray(self._pipeline.predict_proba(rows)[:, 1], np.float64)
