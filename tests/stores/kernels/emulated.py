"""The native library of another architecture, in an emulator, in the place of this machine's.

A pytest plugin: with `-p tests.stores.kernels.emulated` and ATTAR_EMULATED, the command that
answers calls (emulated.cpp), the wrappers of the kernels call functions there, so that the tests of
the kernels are those of that architecture. Arguments travel as they are: integers, arrays, and
structs, whose addresses are put right on the other side. An array that `pointer` never saw cannot
travel, and reading behind the end of one faults.
"""

import ctypes
import os
import subprocess
import sys
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels import library
from attar.stores.kernels.exact.source import PlanesStruct, SourceStruct

POINTEES = {"planes": PlanesStruct, "source": SourceStruct}
"""Fields that hold the address of a struct; other addresses are those of arrays."""

arrays: WeakValueDictionary[int, NDArray[Any]] = WeakValueDictionary()


def announced(array: NDArray[Any] | None) -> ctypes.c_void_p:
    """As `library.pointer`, and whoever meets the address finds the array."""
    address = library_pointer(array)
    if array is not None:
        known = arrays.get(array.ctypes.data)
        if known is None or known.nbytes < array.nbytes:
            arrays[array.ctypes.data] = array
    return address


library_pointer = library.pointer


class Parcel:
    """The buffers of one call, each once, and the addresses inside of structs."""

    def __init__(self) -> None:
        self.views: list[memoryview] = []
        self.numbers: dict[int, int] = {}
        self.addresses: list[tuple[int, int, int]] = []

    def array(self, address: int) -> int:
        """Number of the buffer that the array at this address travels in."""
        if address not in self.numbers:
            array = arrays[address]
            self._add(address, memoryview(array.reshape(-1).view(np.uint8)))
        return self.numbers[address]

    def struct(self, value: ctypes.Structure) -> int:
        """Number of the buffer that a struct travels in."""
        address = ctypes.addressof(value)
        if address not in self.numbers:
            number = self._add(address, memoryview(value).cast("B").toreadonly())
            for field in type(value)._fields_:
                name, kind = field[0], field[1]
                at, held = getattr(type(value), name).offset, getattr(value, name)
                if kind is ctypes.c_void_p:
                    self._point(number, at, name, held)
                elif issubclass(kind, ctypes.Array) and kind._type_ is ctypes.c_void_p:
                    for place, item in enumerate(held):
                        self._point(number, at + 8 * place, name, item)
        return self.numbers[address]

    def _add(self, address: int, view: memoryview) -> int:
        self.numbers[address] = len(self.views)
        self.views.append(view)
        return self.numbers[address]

    def _point(self, number: int, at: int, name: str, address: int | None) -> None:
        if address is not None:
            pointee = POINTEES.get(name)
            meant = self.struct(pointee.from_address(address)) if pointee else self.array(address)
            self.addresses.append((number, at, meant))


class Function:
    """A function of the library there; `restype` as in ctypes."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self.process, self.name = process, name
        self.restype: Any = ctypes.c_int32

    def __call__(self, *arguments: Any) -> Any:
        parcel, integers, floats = Parcel(), [], [0.0, 0.0]
        for argument in arguments:
            if isinstance(argument, ctypes.c_float):
                floats = [argument.value, *floats][:2]
            elif isinstance(argument, ctypes.c_void_p):
                there = argument.value is not None
                integers.append((int(there), parcel.array(argument.value) if there else 0))
            elif hasattr(argument, "_obj"):
                integers.append((1, parcel.struct(argument._obj)))
            else:
                integers.append((0, argument.value))
        return self.restype(self._answer(parcel, integers, floats)).value

    def _answer(self, parcel: Parcel, integers: list[tuple[int, int]], floats: list[float]) -> int:
        send, receive = self.process.stdin, self.process.stdout
        assert send is not None and receive is not None
        send.write(self.name.encode().ljust(64, b"\0"))
        send.write(np.uint64(len(parcel.views)))
        for view in parcel.views:
            send.write(np.uint64(view.nbytes))
            send.write(view)
        for words in (parcel.addresses, integers):
            send.write(np.uint64(len(words)))
            send.write(np.array(words, np.int64).tobytes())
        send.write(np.array(floats, np.float32).tobytes())
        send.flush()
        result = receive.read(8)
        if len(result) < 8:
            raise RuntimeError(f"{self.name}: the emulator ended with {self.process.wait()}.")
        for view in parcel.views:
            came = receive.read(view.nbytes)
            if not view.readonly and came != view:
                view[:] = came
        return int.from_bytes(result, "little", signed=True)


class Emulated:
    """Stands for the library that ctypes loads."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 20
        )
        self._functions: dict[str, Function] = {}

    def __getattr__(self, name: str) -> Function:
        return self._functions.setdefault(name, Function(self._process, name))


def install(command: list[str]) -> None:
    """Replace the library, and `pointer` wherever a module has it; later ones get the new one."""
    here = Emulated(command)
    library.library = cache(lambda: here)  # type: ignore[assignment, arg-type, return-value]
    library.levels.cache_clear()
    for name, module in list(sys.modules.items()):
        if name.startswith("attar.") and getattr(module, "pointer", None) is library_pointer:
            module.pointer = announced  # type: ignore[attr-defined]


if "ATTAR_EMULATED" in os.environ:
    install(os.environ["ATTAR_EMULATED"].split())
