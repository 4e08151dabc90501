// The operations that matter, through the gateway, in front of stores with the limits of known providers (test/support/narrow-profiles.ts).
import { createHash } from 'node:crypto'
import dns from 'node:dns'
import t from 'tap'
import { byTurns } from '../support/by-turns.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { profiles, upstreamProfiles } from '../support/narrow-profiles.ts'
import { lookupBuckets, startNarrowStore, type Limits } from '../support/narrow-store.ts'
import { headerSigned, Wire, type Access, type Answer } from '../support/wire.ts'

const Bucket = 'bucket'
const stateBucket = 'sealgate-state'
const behind = await startTestStore({ buckets: [Bucket, stateBucket], keepBodies: false, defaultChecksum: false })
t.teardown(() => behind.close())

t.intercept(dns, 'lookup', { value: lookupBuckets })

/** What is done in front of every store. */
const basic = ['put', 'get', 'emptyTagging', 'condition', 'tagging', 'delete', 'multiDelete']

/** `ok`, or the code that a step ends with. */
type Outcome = Readonly<Record<string, string>>

type Headers = readonly (readonly [name: string, value: string])[]

async function run(access: Access, prefix: string, more: readonly string[]): Promise<Outcome> {
  const chosen = (step: string): boolean => byTurns(basic.includes(step) || more.includes(step))
  const wire = new Wire(access.endpoint)
  const askOnce = async (method: string, target: string, { headers = [], body = '' }: { headers?: Headers; body?: string | Buffer } = {}): Promise<Answer> =>
    wire.send(headerSigned(access, { method, target: `/${Bucket}${target}`, headers }, body), body)
  // As every SDK does: what the gateway may not send twice (DELETE) it answers with 503 where the connection ended below it.
  const ask: typeof askOnce = async (...request) => {
    const answer = await askOnce(...request)
    return answer.status === 503 ? askOnce(...request) : answer
  }
  const same = (got: unknown, wanted: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`)
  }
  /** @throws the S3 error code of an answer that is not a success */
  const done = (answer: Answer): string => {
    if (answer.status >= 300) throw new Error(answer.code)
    return answer.body.toString()
  }
  const all = (xml: string, element: string): string[] => [...xml.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map(([, text = '']) => text)
  const text = 'the plaintext of an object'
  const at = (name: string): string => `/${prefix}/${name}`
  const steps: Record<string, () => Promise<void>> = {
    put: async () => {
      done(await ask('PUT', at('a'), { body: text, headers: [['content-type', 'text/x'], ['x-amz-meta-m', 'v']] }))
      done(await ask('PUT', at('large'), { body: Buffer.alloc(70_000, 1) }))
    },
    get: async () => {
      same(done(await ask('GET', at('a'))), text)
      same((await ask('GET', at('none'))).code, 'NoSuchKey')
    },
    head: async () => {
      same((await ask('HEAD', at('large'))).headers['content-length'], '70000')
      const { headers } = await ask('HEAD', at('a'))
      same([headers['content-length'], headers['content-type'], headers['x-amz-meta-m']], [String(text.length), 'text/x', 'v'])
    },
    range: async () => {
      same(done(await ask('GET', at('a'), { headers: [['range', 'bytes=4-12']] })), 'plaintext')
    },
    emptyTagging: async () => {
      done(await ask('PUT', at('b'), { body: 'b', headers: [['x-amz-tagging', '']] }))
    },
    copy: async () => {
      done(await ask('PUT', at('c/copy'), { headers: [['x-amz-copy-source', `/${Bucket}${at('a')}`]] }))
      same(done(await ask('GET', at('c/copy'))), text)
    },
    multipart: async () => {
      const [id = ''] = all(done(await ask('POST', `${at('parts')}?uploads=`)), 'UploadId')
      const part = await ask('PUT', `${at('parts')}?partNumber=1&uploadId=${id}`, { body: text })
      done(part)
      const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(part.headers['etag'])}</ETag></Part></CompleteMultipartUpload>`
      done(await ask('POST', `${at('parts')}?uploadId=${id}`, { body }))
      same(done(await ask('GET', at('parts'))), text)
    },
    list: async () => {
      const found: string[] = []
      for (let next: string | undefined = ''; next !== undefined;) {
        const token: string = next === '' ? '' : `&continuation-token=${encodeURIComponent(next)}`
        const page: string = done(await ask('GET', `?list-type=2&max-keys=2&delimiter=%2F&prefix=${prefix}%2F${token}`))
        const sizes = all(page, 'Size')
        found.push(...all(page, 'Key').map((key, i) => `${key} ${sizes[i] ?? ''}`), ...all(page.replace(/<Prefix>[^<]*<\/Prefix>/, ''), 'Prefix'))
        next = all(page, 'NextContinuationToken')[0]
        if (next !== undefined && found.length > 10) throw new Error('a listing that does not end')
      }
      const wanted = [`a ${text.length}`, 'b 1', ...chosen('copy') ? ['c/'] : [], 'large 70000', ...chosen('multipart') ? [`parts ${text.length}`] : []]
      same(found.sort(), wanted.map((row) => `${prefix}/${row}`))
    },
    condition: async () => {
      same((await ask('PUT', at('a'), { body: 'other', headers: [['if-none-match', '*']] })).code, 'PreconditionFailed')
    },
    tagging: async () => {
      done(await ask('PUT', at('a'), { body: text, headers: [['x-amz-tagging', 'x=y']] }))
      same(all(done(await ask('GET', `${at('a')}?tagging=`)), 'Value'), ['y'])
    },
    delete: async () => {
      done(await ask('DELETE', at('large')))
      same((await ask('GET', at('large'))).code, 'NoSuchKey')
    },
    multiDelete: async () => {
      const keys = ['a', 'b', 'none'].map((name) => `${prefix}/${name}`)
      const body = `<Delete>${keys.map((key) => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`
      same(all(done(await ask('POST', '?delete=', { body, headers: [['content-md5', createHash('md5').update(body).digest('base64')]] })), 'Key'), keys)
      const left = [...chosen('copy') ? ['c/copy'] : [], ...chosen('multipart') ? ['parts'] : []]
      same(all(done(await ask('GET', `?list-type=2&prefix=${prefix}%2F`)), 'Key'), left.map((name) => `${prefix}/${name}`))
    }
  }
  const outcome: Record<string, string> = {}
  for (const [name, step] of Object.entries(steps).filter(([step]) => chosen(step))) {
    outcome[name] = await step().then(() => 'ok', (error: unknown) => error instanceof Error ? error.message : '')
  }
  wire.close()
  return outcome
}

const noTags = { tagging: 'NotImplemented' }
/** Conditions that the store refuses or ignores are refused, as the probe has found out. */
const noConditions = { condition: '"NotImplemented" instead of "PreconditionFailed"' }

/** Steps that do not succeed, and how. */
const but: Readonly<Partial<Record<keyof typeof profiles, Outcome>>> = {
  r2: noTags,
  b2: { ...noTags, ...noConditions },
  wasabi: noTags,
  google: { ...noTags, ...noConditions },
  oss: { ...noTags, ...noConditions },
  garage: noTags
}

/** What else a provider's limits concern. */
const steps: Readonly<Partial<Record<keyof typeof profiles, readonly string[]>>> = {
  r2: ['head', 'range', 'copy', 'multipart', 'list'],
  hetzner: ['copy'],
  scaleway: ['multipart'],
  google: ['head', 'copy', 'list'],
  ecs: ['head', 'range'],
  oss: ['list'],
  garage: ['multipart'],
  cephOld: ['list']
}

for (const [name, limits] of Object.entries<Limits>(profiles)) {
  await t.test(name, async (t) => {
    const provider = name as keyof typeof profiles
    const profile = upstreamProfiles[provider]
    const store = await startNarrowStore(behind, limits)
    const gateway = await startTestGateway(store, {
      // The region of a provider is its profile's, where that has one.
      upstream: { stateBucket, ...profile === undefined ? {} : { profile }, ...limits.region === undefined ? {} : { region: undefined } }
    })
    t.teardown(async () => {
      await gateway.close()
      await store.close()
    })
    const outcome = await run(gateway, name, steps[provider] ?? [])
    t.same(outcome, { ...Object.fromEntries(Object.keys(outcome).map((step) => [step, 'ok'])), ...but[provider] })
    // Of features that the configuration excludes, only settings of buckets are read (0106); others are probed.
    t.same(store.refused.filter((line) => !/^(PutObject NotImplemented|GetBucket\w+ )/.test(line)), [])
  })
}

interface Front {
  readonly limits: Limits
  readonly upstream?: Readonly<Record<string, unknown>>
  readonly steps: readonly string[]
  readonly but?: Outcome
}

/** Limits that stand before many stores, and in no list of a provider. */
const fronts: Readonly<Record<string, Front>> = {
  'a front end that refuses in HTML': { limits: { htmlErrors: 'refused', lacks: ['tagging', 'cors', 'acl'] }, steps: [], but: { tagging: 'NotImplemented' } },
  'HEAD without a length': { limits: { headWithoutLength: 'always' }, steps: ['head', 'copy'] },
  'connections closed as soon as they are idle': { limits: { idleMs: 0 }, steps: ['multipart', 'list'] },
  'ListObjectsV2 taken for ListObjects': { limits: { listV2: 'asV1' }, upstream: { lacks: ['listV2'] }, steps: ['list'] },
  'encryption demanded': { limits: { sse: { demanded: 'AES256' } }, upstream: { sse: 'AES256' }, steps: ['copy', 'multipart'] }
}
for (const [name, { limits, upstream = {}, steps, but = {} }] of Object.entries(fronts)) {
  await t.test(name, async (t) => {
    const store = await startNarrowStore(behind, limits)
    const told: string[] = []
    const gateway = await startTestGateway(store, { upstream: { stateBucket, ...upstream }, operatorLog: (...line) => told.push(JSON.stringify(line)) })
    t.teardown(async () => {
      await gateway.close()
      await store.close()
    })
    const outcome = await run(gateway, name.replaceAll(' ', '-'), steps)
    t.same(outcome, { ...Object.fromEntries(Object.keys(outcome).map((step) => [step, 'ok'])), ...but }, told.join('\n'))
  })
}
