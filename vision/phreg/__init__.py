"""PH-Reg: registers for finished vision transformers, without labels (arXiv 2505.21501)."""

from attar.vision.phreg.artifacts import NormOutliers as NormOutliers
from attar.vision.phreg.artifacts import cosine_percentiles as cosine_percentiles
from attar.vision.phreg.artifacts import norm_outliers as norm_outliers
from attar.vision.phreg.denoise import denoise as denoise
from attar.vision.phreg.dense import neighbours as neighbours
from attar.vision.phreg.dense import plain as plain
from attar.vision.phreg.dense import value_path as value_path
from attar.vision.phreg.distill import Distillation as Distillation
from attar.vision.phreg.distill import Progress as Progress
from attar.vision.phreg.distill import distill as distill
from attar.vision.phreg.loss import distillation_loss as distillation_loss
from attar.vision.phreg.picture import attention_picture as attention_picture
from attar.vision.phreg.picture import norm_picture as norm_picture
from attar.vision.phreg.recipe import CLIP_RECIPE as CLIP_RECIPE
from attar.vision.phreg.recipe import DistillRecipe as DistillRecipe
from attar.vision.phreg.registered import RegisteredViT as RegisteredViT
from attar.vision.phreg.saved import load_student as load_student
from attar.vision.phreg.saved import save_student as save_student
from attar.vision.phreg.shifts import Shift as Shift
from attar.vision.phreg.shifts import draw_shifts as draw_shifts
from attar.vision.phreg.student import PHRegStudent as PHRegStudent
from attar.vision.phreg.test_time import Neuron as Neuron
from attar.vision.phreg.test_time import TestTimeRegisters as TestTimeRegisters
from attar.vision.phreg.test_time import find_register_neurons as find_register_neurons
