"""One TOML file that says what to read, measure and watch for: the whole job."""

from operando.recipe.correct import Absorption as Absorption
from operando.recipe.correct import Calibration as Calibration
from operando.recipe.correct import Correct as Correct
from operando.recipe.correct import Energy as Energy
from operando.recipe.correct import Glitches as Glitches
from operando.recipe.correct import Merge as Merge
from operando.recipe.correct import SelfAbsorption as SelfAbsorption
from operando.recipe.detect import Departure as Departure
from operando.recipe.detect import Detect as Detect
from operando.recipe.detect import IncompleteReturn as IncompleteReturn
from operando.recipe.detect import NewPeaks as NewPeaks
from operando.recipe.observe import Edge as Edge
from operando.recipe.observe import Exafs as Exafs
from operando.recipe.observe import Fractions as Fractions
from operando.recipe.observe import Observe as Observe
from operando.recipe.observe import Peaks as Peaks
from operando.recipe.observe import Pores as Pores
from operando.recipe.observe import Resistance as Resistance
from operando.recipe.observe import Standard as Standard
from operando.recipe.recipe import Compute as Compute
from operando.recipe.recipe import Electrochemistry as Electrochemistry
from operando.recipe.recipe import Measurement as Measurement
from operando.recipe.recipe import Recipe as Recipe
from operando.recipe.recipe import Source as Source
