"""Look ahead before notebooks run: can this machine run the notebooks, and at what cost?"""

from collections.abc import Sequence

from alignsd.base.paths import run_dir
from alignsd.kit.values.parameters import number, text
from alignsd.planning.costs import before_a_run
from alignsd.planning.environment import check_environment, require
from alignsd.planning.space import held, still_to_write
from alignsd.planning.work import ON_DEVICE, Values, is_full_size


def look_ahead(run: str, values: Values, todo: Sequence[str]) -> None:
    """Check that this machine can run notebooks; at full size, also print what the notebooks take.

    Args:
        run: the run's name.
        values: notebook number -> the notebook's resolved parameters.
        todo: numbers of the notebooks that will run.

    Raises:
        Problem: if this machine lacks something, such as free disk or a GPU of the preset's size.
    """
    needs = values["00"]
    full_size = is_full_size(values)
    on_device = [notebook for notebook in todo if notebook in ON_DEVICE]
    if full_size:
        disk = still_to_write(values, todo, run)
    else:
        disk = number(needs, "disk") - held(run_dir(run))
    free_disk = round(max(disk, 0.0), 1)
    gpu_memory = number(needs, "gpu_memory") if on_device else 0
    require(check_environment(number(needs, "memory"), free_disk, gpu_memory))
    if full_size and on_device:
        device = text(values[on_device[0]], "device")
        print(before_a_run(values, device, run_dir(run) / "cost.json", todo))
