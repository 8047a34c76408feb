from tests.ml.serving.conftest import make_shop, shop  # noqa: F401
