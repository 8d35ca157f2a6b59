"""The machine: devices by name, and work spread over threads."""

import pytest
import torch

from captioning.device import (
    compute_dtype,
    cuda_dtype,
    get_device,
    parallel_map,
    prefetch,
    rows_where,
)


def test_parallel_map_keeps_order_and_computes_only_a_little_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = parallel_map(lambda i: i * i, items(), threads=2)
    assert next(results) == 0
    assert len(taken) < 20
    assert list(results) == [i * i for i in range(1, 100)]


def test_an_error_in_a_thread_reaches_the_caller():
    results = parallel_map(lambda i: 1 / i, [2, 1, 0], threads=2)
    with pytest.raises(ZeroDivisionError):
        list(results)


def test_a_device_is_found_by_name():
    assert get_device("cpu") == torch.device("cpu")
    assert get_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="There is no device 'tpu'; choose auto, cpu, cuda or mps"):
        get_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_one_sentence():
    with pytest.raises(ValueError, match="This machine has no cuda; use --device cpu"):
        get_device("cuda")


def test_a_cpu_computes_in_bfloat16_only_where_its_hardware_does(monkeypatch):
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, probe, lambda answer=supported: answer, raising=False)
        assert compute_dtype(torch.device("cpu")) == dtype


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_a_gpu_computes_in_what_its_hardware_multiplies(capability, dtype):
    assert cuda_dtype(capability) == dtype


def test_prefetch_keeps_order_and_computes_a_few_ahead():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    results = prefetch(items(), ahead=2)
    assert next(results) == 0
    assert len(taken) <= 4
    assert list(results) == list(range(1, 20))
    assert list(prefetch([])) == []


def test_an_error_while_prefetching_reaches_the_caller():
    results = prefetch(1 / i for i in (2, 1, 0, 5))
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_chosen_rows_come_first_in_order_and_others_fill_them_up():
    chosen = torch.tensor([0, 1, 0, 1, 1, 0, 1, 0, 0, 1], dtype=torch.bool)
    assert rows_where(chosen, 5).tolist() == [1, 3, 4, 6, 9]
    assert rows_where(chosen, 4).tolist() == [1, 3, 4, 6, 9, 0, 2, 5]
    assert rows_where(chosen, 64).tolist() == [1, 3, 4, 6, 9, 0, 2, 5, 7, 8]  # there are no more
    assert rows_where(chosen & False, 4).tolist() == []
