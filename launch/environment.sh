# Sourced by the scripts beside it: what Open MPI needs to start on any machine, root or not, with more ranks than cores.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# Ranks of one machine talk through shared memory; a copy through the kernel needs a right that containers lack.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
# A waiting rank lets others run, and no rank is pinned: its threads would share one core.
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
