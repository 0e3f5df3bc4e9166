"""Training of all networks.

run: the entry point. schema: config defaults. base: the shared LightningModule. expert_f, expert_t, prior and gate: one
module for each network. gan and losses: the objectives. gate_table and gate_data: the gate's samples. schedule, muon,
callbacks, loggers, views and quiet: learning rate, optimiser and logs.
"""
