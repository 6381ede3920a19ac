# %% [markdown]
# # 5. To NWB and DANDI
#
# Journals and funders ask for data in NWB, and DANDI is an archive for NWB files. On the usual
# way from phy to NWB, labels, channels and the history of merges are lost. `export_to_nwb`
# keeps them, and reads the file back before it gets its name.
#
# ## Curate, then describe the session
#
# The sorter's folder does not contain the date, the experimenter and the animal. Keep them in a
# YAML file beside the data (`metadata="session.yaml"`), or in a dict, in neuroconv's format.

# %%
import tempfile
from pathlib import Path

import si_curation as sic

analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
session = sic.CurationSession(analyzer, decided_by="A. Curator")
session.merge([11, 12], reason="one neuron, split by amplitude")
session.split_by_template(13, reason="templates meet within the refractory period")
curated = session.apply()
curated.compute(["template_best_channels", "curation_metrics"])

metadata = {
    "NWBFile": {
        "session_start_time": "2024-05-01T09:30:00+02:00",
        "session_description": "Mouse running on a wheel, one probe in CA1.",
        "session_id": "mouse1-day1",
        "experimenter": ["Curator, Alex"],
        "lab": "A lab",
        "institution": "A university",
        "experiment_description": "Place cells and running speed.",
        "keywords": ["hippocampus", "Neuropixels"],
        "related_publications": ["https://doi.org/10.1101/2024.01.01.000000"],
    },
    "Subject": {
        "subject_id": "mouse1",
        "species": "Mus musculus",
        "sex": "F",
        "age": "P90D",
        "description": "Wild type, kept on a reversed light cycle.",
        "strain": "C57BL/6J",
    },
    "Ecephys": {
        "Device": [{"name": "Probe", "description": "32 channels, two columns, 20 um apart"}],
        "ElectrodeGroup": [
            {"name": "0", "description": "the shank", "location": "CA1", "device": "Probe"}
        ],
    },
}

# %% [markdown]
# ## Write it
#
# The clock is never guessed: `t_start` is the time of the first sample on the clock of the
# session. With the recording's own NWB file, `source_nwb="recording.nwb"`, clock, electrodes
# and metadata are taken from it.

# %%
folder = Path(tempfile.mkdtemp())
path = sic.export_to_nwb(curated, folder / "mouse1-day1.nwb", metadata=metadata, t_start=0.0)
print(path.name, f"{path.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Would DANDI accept it?
#
# DANDI runs the NWB Inspector with its own configuration. Run it before the upload.

# %%
from nwbinspector import Importance, inspect_nwbfile, load_config

found = list(inspect_nwbfile(nwbfile_path=path, config=load_config("dandi")))
for message in found:
    print(message.importance.name, message.check_function_name, "-", message.message)
critical = [message for message in found if message.importance.value >= Importance.CRITICAL.value]
print(len(critical), "of", len(found), "messages would make DANDI reject it")

# %% [markdown]
# There are no messages, because the metadata above are complete. Leave out the subject's `age`
# or the `experimenter` and run it again to see a message.
#
# ## Read it back
#
# With pynwb alone, as a colleague would who does not have this package:

# %%
from pynwb import NWBHDF5IO

with NWBHDF5IO(path, "r") as io:
    nwbfile = io.read()
    units = nwbfile.units.to_dataframe()
    log = nwbfile.processing["ecephys"]["curation_log"].to_dataframe()
    subject = nwbfile.subject.subject_id
print("subject:", subject)
print(len(units.columns), "columns, among them", list(units.columns[:6]))
print(units[["quality", "num_spikes", "template_ids", "original_cluster_ids"]].to_string())
print(log[["operation", "inputs", "outputs", "templates", "decided_by"]].to_string())

# %% [markdown]
# Labels, metrics and best channels are columns, `original_cluster_ids` has the cluster ids of
# the folder that was read, and `curation_log` has each step, by whom and why: first the
# curation in phy, as far as the folder shows it, then the session above. The parts of 13
# inherited its label `good`, as in phy; label them again if that is wrong.
#
# SpikeInterface also reads the file. The unit ids are then texts:

# %%
from spikeinterface.extractors import read_nwb_sorting

sorting = read_nwb_sorting(path)
counts = {str(unit): count for unit, count in curated.sorting.count_num_spikes_per_unit().items()}
print("the same number of spikes in each unit:", sorting.count_num_spikes_per_unit() == counts)

# %% [markdown]
# To upload, put the file into a folder and use the DANDI client: `dandi organize`, `dandi
# validate`, `dandi upload`. On the command line the export is `si-curation export-nwb FOLDER
# OUTPUT.nwb --metadata session.yaml`.
