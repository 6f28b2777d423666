"""A finished student on disk."""

from dataclasses import asdict
from pathlib import Path

from attar.vision.adapters import rebuild
from attar.vision.checkpoint import put_weights, read_config, read_weights, save_folder
from attar.vision.phreg.recipe import STUDENT_DENSE, DistillRecipe
from attar.vision.phreg.student import PHRegStudent


def save_student(folder: Path, student: PHRegStudent, recipe: DistillRecipe) -> None:
    """Write a finished student."""
    config = {"vit": student.vit.recipe(), "m": len(student.registers), "recipe": asdict(recipe)}
    save_folder(folder, "phreg-student", config, student)


def load_student(folder: str | Path) -> PHRegStudent:
    """Read a finished student, in evaluation mode."""
    folder = Path(folder)
    config = read_config(folder, "phreg-student")
    dense = STUDENT_DENSE[config["recipe"]["dense"]]
    student = PHRegStudent(rebuild(config["vit"]), config["m"], dense)
    put_weights(student, read_weights(folder), str(folder))
    return student.eval()
