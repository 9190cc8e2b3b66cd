"""An example of a downstream application: keeps its own balances from the public topic `ledger.transactions`, with
nothing but the published Avro schema and `fastavro`.

    streambook topics tail ledger.transactions --last 1000000 --format avro --data ./data \
      | python examples/downstream/balances.py schemas/avro/LedgerTransaction.avsc

It shows what every reader of a public topic has to do: tell the partitions apart, take each `seq` of a task once and in
order, never go past one that is missing, and add up integers.
"""

import io
import json
import struct
import sys
from collections import defaultdict

import fastavro

# Partition (2 bytes), offset (8), length (4), all big-endian; the Avro single object follows.
PLACE = struct.Struct(">HQI")
# C3 01 and the fingerprint of the writer's schema.
HEADER_BYTES = 10
# The largest record that is believed, so that a broken stream cannot ask for all memory.
LONGEST = 64 << 20


def records(stream, schema):
    """Yields (partition, offset, record) until the stream ends."""
    header = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical(schema), "CRC-64-AVRO"))
    while place := stream.read(PLACE.size):
        if len(place) < PLACE.size:
            raise SystemExit("the stream ends within a record")
        partition, offset, length = PLACE.unpack(place)
        if length > LONGEST:
            raise SystemExit(f"a record of {length} bytes: this is not a stream of records")
        record = stream.read(length)
        if len(record) < length:
            raise SystemExit("the stream ends within a record")
        if record[:HEADER_BYTES] != header:
            raise SystemExit(f"partition {partition} offset {offset} was written with another schema than this one")
        body = io.BytesIO(record[HEADER_BYTES:])
        yield partition, offset, fastavro.schemaless_reader(body, schema)


def canonical(schema):
    return fastavro.schema.to_parsing_canonical_form(schema)


def main():
    schema = fastavro.schema.load_schema(sys.argv[1])
    balances = defaultdict(lambda: defaultdict(int))
    taken, early = {}, {}
    for partition, offset, record in records(sys.stdin.buffer, schema):
        # Each task numbers what it sends to a partition from 1 without a gap, and may send a record again. One that comes
        # before its turn is left out: what is missing comes again on a cluster, and this record behind it.
        source = record["meta"]["source"]
        task, seq = (partition, source["task"]), source["seq"]
        # Where the first record that is read is not the partition's, those before it may have been given up.
        last = taken.setdefault(task, 0 if offset == 0 else seq - 1)
        if seq > last + 1:
            early[task] = seq
        if seq != last + 1:
            continue
        taken[task] = seq
        sums = defaultdict(int)
        for entry in record["entries"]:
            units = int(entry["amount"])  # A decimal of scale 0: an integer of the asset's smallest unit.
            sums[entry["asset"]] += units
            balances[entry["account"]][entry["asset"]] += units
        if any(sums.values()):
            raise SystemExit(f"partition {partition} offset {offset}: the transaction does not balance")
    for (partition, task), seq in early.items():
        if seq > taken[partition, task]:
            raise SystemExit(f"partition {partition}: number {taken[partition, task] + 1} of {task} is missing")
    text = {a: {s: str(units) for s, units in sorted(assets.items())} for a, assets in sorted(balances.items())}
    json.dump(text, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
