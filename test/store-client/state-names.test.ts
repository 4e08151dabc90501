// Names of objects in the state bucket: whatever a part record holds, a store that keeps objects as files can take its name.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { checksumCodes, type ChecksumName } from '../../src/envelope/attributes.ts'
import { DataKey } from '../../src/envelope/data-key.ts'
import { openPartRecord, sealPartRecord, type PartRecord } from '../../src/envelope/upload-records.ts'
import { afterPartRecords, parsePartRecordName, partRecordName, partRecordsPrefix } from '../../src/store-client/state-names.ts'

await t.test('names of part records with every checksum and the longest ETag', async (t) => {
  const dataKey = DataKey.random()
  const hash = randomBytes(32)
  let longest = 0
  for (const [algorithm, { bytes }] of Object.entries(checksumCodes)) {
    for (const etag of ['', randomBytes(16).toString('hex'), 'e'.repeat(255)]) {
      const record: PartRecord = {
        number: 10_000,
        plaintextSize: 5_367_071_380,
        header: randomBytes(40),
        md5: randomBytes(16),
        inline: etag === '',
        upstreamEtag: etag,
        checksum: { algorithm: algorithm as ChecksumName, value: randomBytes(bytes) }
      }
      const name = partRecordName(hash, record.number, 1_800_000_000_000, sealPartRecord(dataKey, hash, record))
      const { time, sealed } = parsePartRecordName(name)
      t.equal(time, 1_800_000_000_000)
      t.same(openPartRecord(dataKey, hash, sealed), record)
      t.ok(
        name.length <= 1024 && name.split('/').every((piece) => piece.length > 0 && piece.length <= 255),
        `${algorithm}, ETag of ${etag.length}: ${name.length} characters`
      )
      t.ok(name.startsWith(partRecordsPrefix(hash)) && name < afterPartRecords(hash, record.number) && name > afterPartRecords(hash, record.number - 1))
      longest = Math.max(longest, name.length)
    }
  }
  t.comment(`the longest name has ${longest} characters`)
})
