// `sealgate report check`: whether a report and its evidence, or a record of a destruction, are as they were made.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { policyFor } from '../config/config.ts'
import { systemCodeOf, systemWords } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { evidenceFile, isGenuine, parseEvidence } from '../maintenance/evidence.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { exitCodes, type Platform } from './platform.ts'
import { readConfig } from './sealed-config.ts'
import { isShredRecord, wordsOf } from './shred-record.ts'
import { openKeys, storeOfBucket } from './store-command.ts'

/** Bytes: some 100 for each place of the configuration that names a key. */
const MOST_RECORD = 16 * 1024 * 1024

interface CheckValues {
  readonly config: string | undefined
  readonly report: string
}

/** `sealgate report check`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runReportCheck(values: CheckValues, platform: Platform): Promise<number> {
  const config = await readConfig({ file: requiredConfig(values, platform), env: platform.env })
  const file = resolve(platform.cwd, values.report)
  const { signed, beside } = await evidenceOf(file)
  const { evidence } = signed
  const { bucket, realm } = evidence
  if (storeOfBucket(config, bucket).realm !== realm) throw new UsageError(`--config: ${bucket} is of another realm than the report, ${realm}.`)
  const opened = await openKeys(config, 'report check', new AbortController().signal)
  try {
    const use = { ...opened.useFor(bucket, '', null), objectKey: null }
    const genuine = await isGenuine(signed, { keys: opened.keys, pins: policyFor(config, bucket).keys.bucket, use })
    const same = beside ? evidence.reportSha256 === await sha256Of(file) : isShredRecord(evidence)
    platform.stdout.write(
      `evidence: ${genuine ? 'genuine' : 'NOT GENUINE: it was changed, or made without the key of the bucket'}\n`
        + (same && !beside
          ? genuine ? `record:   ${wordsOf(evidence)}\n` : ''
          : `report:   ${same ? 'unchanged' : 'NOT THE REPORT that the evidence is about'}\n`)
    )
    return genuine && same ? exitCodes.done : exitCodes.damaged
  } finally {
    await opened.close()
  }
}

/** The evidence beside a report, or a file that is evidence itself. */
async function evidenceOf(file: string): Promise<{ readonly signed: ReturnType<typeof parseEvidence>; readonly beside: boolean }> {
  const text = await readFile(evidenceFile(file), 'utf8').catch((error: unknown) => {
    if (systemCodeOf(error) !== 'ENOENT') throw unreadable(error)
    return null
  })
  if (text !== null) return { signed: parseEvidence(text), beside: true }
  try {
    const { size } = await stat(file)
    if (size <= MOST_RECORD) return { signed: parseEvidence(await readFile(file, 'utf8')), beside: false }
  } catch (error) {
    if (!(error instanceof S3Error)) throw unreadable(error)
  }
  throw new UsageError(`--report: there is no ${evidenceFile(file)}.`)
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk)
  } catch (error) {
    throw unreadable(error)
  }
  return hash.digest('hex')
}

function unreadable(error: unknown): UsageError {
  return new UsageError(`--report: the report or its evidence could not be read: ${systemWords(error)}.`)
}
