"""The recipe of a model: all that its training depends on beside the files of its commit."""

import hashlib
import os
import platform
from importlib.metadata import version

from ml.builder.context import BuildContext
from ml.builder.reuse import Recipe
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.data import DataResult
from ml.builder.stages.environment import EnvironmentResult


def make_recipe(
    context: BuildContext, checkout: CheckoutResult, environment: EnvironmentResult, data: DataResult
) -> Recipe:
    """Return all that a training depends on beside the files: what differs is named by the keys."""
    limits, settings = environment.runtime.sandbox, context.settings
    timeout = checkout.manifest.resources.train_timeout or settings.train_timeout
    return {
        # one in which code was built is the check's own, and has another name
        "the environment": environment.runtime.environment.name,
        "the packages": hashlib.sha256(environment.lock.encode()).hexdigest(),
        "the Python": environment.python,
        "the training data": data.train.sha256,
        "the test data": data.test.sha256,
        "the entry point": checkout.manifest.model.entry_point,
        "the platform": f"{platform.machine()} {' '.join(platform.libc_ver())}",
        "the limits": f"{limits.memory} {limits.file_size} {limits.processes} {limits.ports} {timeout}",
        "the operator's settings": f"{settings.evaluate_timeout} {os.environ.get('CUDA_VISIBLE_DEVICES')}",
        "Slipway's version": version("slipway"),
    }
