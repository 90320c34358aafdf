"""How long property tests search: a little with every change, longer with ``--hypothesis-profile=thorough``."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

THOROUGH = "thorough"
_TIMES = 20

# A deadline per example would measure the machine's neighbours.
settings.register_profile(THOROUGH, deadline=None, max_examples=100 * _TIMES)


def effort(examples: int, steps: int = 50) -> settings:
    """Settings for `examples` examples, of `steps` steps each if they have steps; twenty times more when thorough."""
    thorough = settings.get_current_profile_name() == THOROUGH
    return settings(
        deadline=None,
        max_examples=examples * _TIMES if thorough else examples,
        stateful_step_count=steps * 2 if thorough else steps,
        # Explaining a failure runs the example hundreds of times more, each with a trace of every line.
        phases=[phase for phase in Phase if phase is not Phase.explain],
        # The examples talk to a server, and are made of many small choices.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
