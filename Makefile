# Names that people expect; each is one cargo command. CONTRIBUTING.md has more.
.PHONY: test test-csi-replication

# All checks and tests.
test:
	cargo xtask test

# CSI volume replication shown step by step on real control planes and real Ceph; ARGS=--keep leaves it running.
test-csi-replication:
	cargo xtask test-csi-replication $(ARGS)
