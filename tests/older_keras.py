"""What an older Keras computes or names differently, and so cannot be the oracle of.

For Python 3.10 there is no newer Keras than 3.12; the comparisons are made with 3.15. The tests named here
are skipped there, each with its reason.
"""

import fnmatch
from importlib.metadata import version

import pytest

COMPARED_WITH = (3, 15)

_ACTIVITY = "it does not divide the regularization of outputs by the batch size"

CHANGED = {
    "test_attention": "it wants three inputs where a mask is given",
    "test_additive_attention": "it wants three inputs where a mask is given",
    "test_keras_makes_the_same_of_the_config[[]dense*": "its initializers have no input_axes",
    "test_keras_makes_the_same_of_the_config[[]*attention*": "its initializers have no input_axes",
    "test_keras_makes_the_same_of_the_config[[]time_distributed*": "its initializers have no input_axes",
    "test_fans_of_given_axes_equal_keras": "its initializers have no input_axes",
    "test_settings_are_those_of_keras[[][VGHL]*": "its initializers have no input_axes",
    "test_names_and_configurations_are_those_of_keras[[][VGHL]*": "its initializers have no input_axes",
    "test_one_line_an_epoch_is_as_keras_prints_it*": "it prints the line differently",
    "test_rates_0_and_1_beside_keras": "it computes rate 1 differently",
    "test_activity_reg*": _ACTIVITY,
    "test_dense": _ACTIVITY,
    "test_fit_is_that_of_keras[[]regression*": _ACTIVITY,
    "test_fit_is_that_of_keras[[]masks*": "it adds 1e-7 to the number of valid steps",
    "test_one_step_of_training": "it adds 1e-7 to the number of valid steps",
    "test_reductions_equal_those_of_keras": "it adds 1e-7 to the number of valid steps",
    "test_single_batches_are_those_of_keras": "it does not reset the metrics before a single batch",
    "test_gradient_equals_that_of_keras_at_saturation*ignore_class*": "it averages ignored classes in",
    "test_a_configuration_makes_the_metric_again[[]SparseCategoricalCrossentropy*": "it has no ignore_class",
    "test_unused_input_and_input_as_output": "it refuses inputs that lead nowhere",
    "test_any_graph_is_ordered_and_computed_as_in_keras": "it refuses inputs that lead nowhere",
    "test_same_text_as_keras[[]unused_input*": "it refuses inputs that lead nowhere",
}


def skip_what_has_changed(items):
    """Mark the tests that the installed Keras cannot judge."""
    installed = version("keras")
    if tuple(map(int, installed.split(".")[:2])) >= COMPARED_WITH:
        return
    for item in items:
        for pattern, change in CHANGED.items():
            if fnmatch.fnmatchcase(item.name, pattern):
                item.add_marker(pytest.mark.skip(reason=f"Keras {installed} is no oracle here: {change}"))
