"""What stands beside the files of the simulated experiment: its recipe and where it comes from."""

RECIPE = """\
# Simulated Na | Na3Zr2Si2PO12 | cathode cell, two cycles, four techniques. truth.json tells what
# there is to find. The potentiostat's computer stood in Paris, the beamline's clock in Chicago.
name = "na_nzsp_cell"
title = "Na | Na3Zr2Si2PO12 | cathode (simulated)"

[cell]
working_electrode = "layered sodium oxide"
electrolyte = "Na3Zr2Si2PO12"
counter_electrode = "Na"
area_cm2 = 1.0

[electrochemistry]
path = "echem/*.mpt"
tz = "Europe/Paris"
clock_sigma_s = 0.5

[[measurement]]
name = "xas"
path = "xas/*.dat"  # Unix time in every point: needs no zone
position = "_(interface|bulk)_"
clock_sigma_s = 0.5

  [[measurement.correct]]
  kind = "energy"  # the drift of the energy scale, seen on the foil in the reference channel
  window = [17970.0, 18050.0]

  [[measurement.observe]]
  kind = "edge"
  name = "zr_k"
  e0 = 18003.0
  pre = [-145.0, -40.0]
  post = [50.0, 440.0]

  [[measurement.detect]]
  kind = "departure"
  observable = "zr_k.edge_shift"
  control = "bulk"
  reversible = "none"

  [[measurement.observe]]
  kind = "fractions"  # the fresh electrolyte, and the metal of the foil
  name = "species"
  e0 = 18003.0
  pre = [-145.0, -40.0]
  post = [50.0, 440.0]
  window = [-25.0, 55.0]
  standards = [
    { name = "Zr4+", frames = [0, 3] },
    { name = "metal", signal = "mu_reference" },
  ]

  [[measurement.detect]]
  kind = "departure"
  observable = "species.fraction.metal"
  control = "bulk"
  reversible = "none"

[[measurement]]
name = "xrd"
path = "xrd/*.xye"
tz = "America/Chicago"
clock_sigma_s = 1.0

  [[measurement.observe]]
  kind = "peaks"
  name = "lines"
  windows = [
    { name = "electrode", low = 4.85, high = 5.65, lines = [5.36] },
    { name = "nzsp", low = 9.25, high = 9.95, lines = [9.58] },
    { name = "product", low = 3.65, high = 4.15, lines = [3.95] },
  ]

  [[measurement.detect]]
  kind = "new_peaks"
  mask = [[4.85, 5.65]]  # the electrode's line moves with the state of charge

[[measurement]]
name = "raman"
path = "raman/*.txt"
tz = "America/Chicago"
position = "_(PE|SSE|NE)_"
clock_sigma_s = 1.0
options = { acquired = "start" }

  [[measurement.observe]]
  kind = "peaks"
  name = "bands"
  windows = [
    { name = "electrode", low = 540.0, high = 650.0, lines = [590.0] },
    { name = "nzsp", low = 970.0, high = 1045.0, lines = [1012.0] },
  ]

[[measurement]]
name = "tomography"
path = "tomography/*.tif"
tz = "America/Chicago"
log = { path = "tomography/scans.csv", name = "name", start = "start_time", end = "end_time" }
clock_sigma_s = 1.0

  [[measurement.observe]]
  kind = "pores"
  name = "pores"

[compute]
scheduler = "threads"
"""

SOURCE = """\
# na_nzsp_cell

A simulated operando experiment on a Na | Na3Zr2Si2PO12 | layered oxide cell: nothing in it was
measured. It is written in the formats of real instruments, so that it is read like real data.
Generate it again with `operando demo --generate FOLDER`; the files come out the same to the byte.

- `echem`, EC-Lab text (.mpt): rest, then two cycles. The potentiostat was started again in the
  second charge, after {gap:.0f} minutes without a record, by a computer that writes decimal commas;
  its charge counter starts again at zero.
- `xas`, CLAESS text (.dat): Zr K XANES at the interface and in the bulk, in turn.
- `xrd`, MSPD text (.xye): powder patterns.
- `raman`, LabSpec text (.txt): positive electrode (PE), solid electrolyte (SSE) and negative
  electrode (NE), in turn. `Acquired` is the start.
- `tomography`, 16-bit TIFF: reconstructed volumes; scans.csv tells when each was taken.

Clocks: echem in local time of {potentiostat}; xrd, raman and tomography in local time of
{beamline}; xas in Unix time.

`truth.json` holds what was put in:

- At the interface a part of the Zr is reduced to metal from {zr} V in the first charge. It follows
  the charge passed, not the time, and never goes back. The bulk stays as it was.
- A layered product gives two new lines (spacings 1 : 1/2) from {phase} V on, in the same charge.
- Pores open on charge and close on discharge; from the second charge on they do not come back.
- The line of the electrode and the bands of PE breathe with the state of charge. SSE and NE do not
  change. A few spectra carry a cosmic ray.

Line positions of Na3Zr2Si2PO12 are near the real ones; all other spectra, and the cell, are made
up.
"""
