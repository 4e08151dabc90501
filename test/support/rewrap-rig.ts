import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { S3Client } from '@aws-sdk/client-s3'
import type { Test } from 'tap'
import { readConfig } from '../../src/cli/sealed-config.ts'
import { openKeys, openStore, storeOfBucket } from '../../src/cli/store-command.ts'
import { editKeyring, readKeyring } from '../../src/keys/keyring-file.ts'
import { runCli, type Ran } from './run-cli.ts'
import { startTestGateway, type TestGateway } from './gateway.ts'
import { startTestStore, type TestStore } from './hostile.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { RewrapJob } from '../../src/maintenance/rewrap-object.ts'
import { TagJournal } from '../../src/maintenance/copy-in-parts.ts'
import { UploadJournal } from '../../src/maintenance/upload-journal.ts'
import { BucketClient, type Sent } from '../../src/store-client/bucket-client.ts'
import { probeConditions } from '../../src/store-client/probe-conditions.ts'
import { probeCopyTagMode } from '../../src/store-client/probe-tags.ts'
import { thisProcess } from '../../src/store-client/upload-notes.ts'

const MIB = 1024 * 1024

export interface RewrapRig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly s3: S3Client
  /** Path of the configuration the commands read. */
  readonly config: string
  readonly audit: string
  readonly run: (...args: string[]) => Promise<Ran>
  /** Rotates the main keyring and lets the gateway know. */
  readonly rotate: () => Promise<void>
  /** Key id that new objects of the main keyring get. */
  currentKeyId(): Promise<string>
  reload(sections?: Readonly<Record<string, unknown>>): Promise<void>
}

/** A gateway in front of a test store, and the commands for the same configuration. */
export async function startRewrapRig(t: Test, sections: Readonly<Record<string, unknown>> = {}): Promise<RewrapRig> {
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-rewrap-'))
  const store = await startTestStore({ buckets: ['bucket'], keepBodies: false })
  const audit = join(folder, 'audit.log')
  const own = { auth: { ssecOverHttp: true }, audit: { file: audit }, ...sections }
  const gateway = await startTestGateway(store, { sections: own })
  const config = join(folder, 'sealgate.yaml')
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const document = {
    listen: { host: '127.0.0.1', port: 0 },
    upstream: { endpoint, region, accessKeyId, secretAccessKey, stateBucket: 'sealgate-state', realm: 'test' },
    clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }],
    keys: { main: { type: 'local', keyring: gateway.keyring } },
    buckets: { '*': { encryption: 'on', key: 'main' } },
    ...own
  }
  await writeFile(config, JSON.stringify(document))
  const reload = async (change: Readonly<Record<string, unknown>> = {}): Promise<void> => {
    const text = JSON.stringify({ ...document, ...change })
    await writeFile(config, text)
    await gateway.gateway.reload(parseConfig(text, { file: config, env: {} }))
  }
  t.teardown(async () => {
    await gateway.close()
    await store.close()
    await rm(folder, { recursive: true })
  })
  return {
    store,
    gateway,
    s3: gateway.client(),
    config,
    audit,
    reload,
    run: (...args) =>
      runCli([
        ...args.slice(0, /^(keys|config|report)$/.test(args[0] ?? '') ? 2 : 1),
        '--config',
        config,
        ...args.slice(/^(keys|config|report)$/.test(args[0] ?? '') ? 2 : 1)
      ], folder),
    rotate: async () => {
      await editKeyring(gateway.keyring, (keyring) => keyring.rotate(new Date()))
      await reload()
    },
    currentKeyId: async () => {
      const keyring = await readKeyring(gateway.keyring)
      return keyring.keyId(keyring.current()!)
    }
  }
}

/** Lets a test do something once a part has been copied. */
class MeddledBucket extends BucketClient {
  afterPart: (() => Promise<unknown>) | null = null

  override async document(sent: Sent): Promise<Buffer> {
    const answer = await super.document(sent)
    const work = this.afterPart
    if (work !== null && sent.query?.some(([name]) => name === 'partNumber') === true) {
      this.afterPart = null
      await work()
    }
    return answer
  }
}

export type Engine = RewrapJob & { readonly bucket: MeddledBucket }

/** The engine itself, with limits of a size that tests can reach. */
export async function engine(
  t: Test,
  rig: RewrapRig,
  change: Partial<RewrapJob> = {},
  { signal }: Pick<AbortController, 'signal'> = new AbortController()
): Promise<Engine> {
  const config = await readConfig({ file: rig.config, env: {} })
  const upstream = openStore(storeOfBucket(config, 'any'), config)
  const opened = await openKeys(config, 'rewrap', signal)
  t.teardown(async () => {
    await opened.close()
    await upstream.close()
  })
  return {
    keys: opened.keys,
    pinsFor: () => ({ key: 'main', allowedKeys: [], openKeys: [] }),
    target: null,
    realm: 'test',
    aliases: [],
    conditions: rig.store.conditions ?? await probeConditions(upstream, 'sealgate-state', signal),
    copyTagMode: await probeCopyTagMode(upstream, 'sealgate-state', signal),
    singleCopyLimit: 6 * MIB,
    partSize: 5 * MIB,
    maxParts: 10_000,
    retryMs: 1,
    useFor: (key, versionId) => opened.useFor('bucket', key, versionId),
    journal: new TagJournal(new BucketClient(upstream, 'sealgate-state', signal), new BucketClient(upstream, 'bucket', signal)),
    uploads: new UploadJournal(new BucketClient(upstream, 'sealgate-state', signal), new BucketClient(upstream, 'bucket', signal), thisProcess),
    ...change,
    bucket: new MeddledBucket(upstream, 'bucket', signal)
  }
}
