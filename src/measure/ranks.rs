//! Which of the processes that a launcher starts on a node collects: the first of them; the others only run their command.

/// The place of this process among those of its node and among nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number on the node.
    pub local: u64,
    /// How many the node has, where that is known.
    pub local_size: Option<u64>,
    /// How many there are in all, where that is known.
    pub size: Option<u64>,
}

/// The variables of a launcher: number on the node, processes of the node, processes in all.
struct Launcher {
    local: &'static str,
    local_size: &'static str,
    size: &'static str,
}

/// Inner launchers before those that they are started by: a batch system sets its own also for one script on one node.
const LAUNCHERS: [Launcher; 6] = [
    // torchrun (PyTorch documentation, "torchrun", Environment Variables)
    Launcher { local: "LOCAL_RANK", local_size: "LOCAL_WORLD_SIZE", size: "WORLD_SIZE" },
    // Open MPI (documentation, "Environment variables set by mpirun")
    Launcher { local: "OMPI_COMM_WORLD_LOCAL_RANK", local_size: "OMPI_COMM_WORLD_LOCAL_SIZE", size: "OMPI_COMM_WORLD_SIZE" },
    // MVAPICH2
    Launcher { local: "MV2_COMM_WORLD_LOCAL_RANK", local_size: "MV2_COMM_WORLD_LOCAL_SIZE", size: "MV2_COMM_WORLD_SIZE" },
    // MPICH's and Intel MPI's Hydra
    Launcher { local: "MPI_LOCALRANKID", local_size: "MPI_LOCALNRANKS", size: "PMI_SIZE" },
    // HPE Cray PALS
    Launcher { local: "PALS_LOCAL_RANKID", local_size: "PALS_LOCAL_SIZE", size: "PMI_SIZE" },
    // Slurm (srun(1), Output environment variables)
    Launcher { local: "SLURM_LOCALID", local_size: "SLURM_TASKS_PER_NODE", size: "SLURM_STEP_NUM_TASKS" },
];

/// The variables that a manifest keeps.
pub const KEPT: [&str; 22] = [
    "LOCAL_RANK",
    "RANK",
    "LOCAL_WORLD_SIZE",
    "WORLD_SIZE",
    "GROUP_RANK",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PMI_RANK",
    "PMI_SIZE",
    "PALS_LOCAL_RANKID",
    "SLURM_JOB_ID",
    "SLURM_NODEID",
    "SLURM_NNODES",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_STEP_NUM_TASKS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
];

/// The place that the environment says; nothing without a launcher.
#[must_use]
pub fn place(variable: impl Fn(&str) -> Option<String>) -> Option<Place> {
    LAUNCHERS.iter().find_map(|launcher| {
        // Slurm writes "8(x2)" for eight tasks on each of two nodes.
        let number = |name: &str| variable(name)?.trim().split('(').next()?.parse::<u64>().ok();
        let local = number(launcher.local)?;
        Some(Place { local, local_size: number(launcher.local_size), size: number(launcher.size) })
    })
}

impl Place {
    /// Whether there are processes on other nodes.
    #[must_use]
    pub fn has_other_nodes(self) -> bool {
        matches!((self.local_size, self.size), (Some(local), Some(all)) if all > local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Place> {
        place(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_string()))
    }

    #[test]
    fn every_launcher_says_the_place() {
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[("LOCAL_RANK", "3"), ("LOCAL_WORLD_SIZE", "8"), ("WORLD_SIZE", "16")]).map(|place| (place.local, place.has_other_nodes())),
            Some((3, true))
        );
        assert_eq!(
            of(&[("OMPI_COMM_WORLD_LOCAL_RANK", "1"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"), ("OMPI_COMM_WORLD_SIZE", "2")])
                .map(|place| place.has_other_nodes()),
            Some(false)
        );
        assert_eq!(
            of(&[("SLURM_LOCALID", "0"), ("SLURM_TASKS_PER_NODE", "8(x2)"), ("SLURM_STEP_NUM_TASKS", "16")])
                .map(|place| place.has_other_nodes()),
            Some(true)
        );
        assert_eq!(of(&[("SLURM_LOCALID", "7")]).map(|place| place.local), Some(7));
        assert_eq!(of(&[("MPI_LOCALRANKID", "2")]).map(|place| place.local), Some(2));
    }

    #[test]
    fn the_inner_launcher_counts() {
        assert_eq!(of(&[("SLURM_LOCALID", "0"), ("LOCAL_RANK", "5")]).map(|place| place.local), Some(5));
    }
}
