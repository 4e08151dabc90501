// Faults, each staged for real, and what an operator has to read on the page to find it.
import { HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { startNarrowStore } from '../support/narrow-store.ts'
import type { Changes, PageRig } from './page-rig.ts'

export interface Fault {
  readonly name: string
  /** Before the gateway starts. `expired`: a certificate that ended in 2021. */
  readonly prepare?: (rig: PageRig, expired: NonNullable<Changes['tls']>) => Promise<Changes> | Changes
  /** While it runs. */
  readonly stage?: (rig: PageRig) => Promise<unknown>
  /** The heading under "What needs attention" that names it, with its subject. Nothing on the page of a healthy gateway may match. */
  readonly found: RegExp
}

export const faults: readonly Fault[] = [
  { name: 'store down', stage: (rig) => rig.store.close(), found: /^The store cannot be used — store default/ },
  {
    name: 'key disabled',
    stage: async (rig) => {
      await rig.traffic('cloud-a')
      rig.kms.setState(rig.arn, 'disabled')
      await rig.traffic('cloud-b')
    },
    found: /^The key is disabled — key cloud/
  },
  { name: 'certificate expired', prepare: (_rig, expired) => ({ tls: expired }), found: /^The certificate expired 2021-01-01/ },
  { name: 'backup never checked', prepare: () => ({ backup: false }), found: /^No backup of the keyring was ever checked here — key main/ },
  {
    name: 'plaintext found',
    stage: async (rig) => {
      await rig.traffic('orders')
      const s3 = rig.direct()
      await s3.send(new PutObjectCommand({ Bucket: 'orders', Key: 'put past the gateway', Body: 'plaintext' }))
      s3.destroy()
      const { code } = await rig.run('scan', '--config', 'sealgate.yaml', '--bucket', 'orders')
      if (code !== 3) throw new Error(`scan ended with ${code}`)
    },
    found: /^1 object in plaintext — bucket orders/
  },
  {
    name: 'worker dead',
    stage: async (rig) => {
      const [pid = 0] = await rig.workerPids()
      process.kill(pid, 'SIGKILL')
    },
    found: /^The worker (is dead|died and was replaced) — worker [12]/
  },
  {
    name: 'KMS slow',
    stage: async (rig) => {
      rig.kms.misbehave = (_call, response) => {
        const end = response.end.bind(response)
        response.end = ((...answer: Parameters<typeof end>) => setTimeout(() => end(...answer), 1500)) as unknown as typeof end
        return false
      }
      await rig.traffic('cloud-slow', 6)
    },
    found: /^The key service \(KMS\) is slow — key service/
  },
  {
    name: 'disk of audit full',
    // Every write to it fails with ENOSPC.
    prepare: () => ({ audit: '/dev/full' }),
    stage: (rig) => rig.traffic('audited'),
    found: /^The audit file cannot be written — audit.file/
  },
  {
    name: 'clock off',
    stage: async (rig) => {
      rig.store.rules.add({ times: Infinity, fault: { type: 'headers', set: { date: new Date(Date.now() - 420_000).toUTCString() } } })
      await rig.traffic('late')
    },
    found: /^The clock of this machine is 7 min( \d+ s)? ahead of the store's — store default/
  },
  {
    name: 'store refuses conditions',
    prepare: async (rig) => {
      const narrow = await startNarrowStore(rig.store, {
        conditions: { PutObject: 'ignored', CompleteMultipartUpload: 'ignored', CopyObject: 'ignored', DeleteObject: 'ignored' }
      })
      return { endpoint: narrow.endpoint }
    },
    found: /^The store does not enforce conditions in buckets that are unversioned.* — store default/
  },
  {
    name: 'envelope altered',
    stage: async (rig) => {
      await rig.traffic('orders')
      const s3 = rig.direct()
      const { Metadata } = await s3.send(new HeadObjectCommand({ Bucket: 'orders', Key: 'object 0' }))
      await s3.send(new PutObjectCommand({ Bucket: 'orders', Key: 'object 0', Body: 'x', Metadata: { ...Metadata, sealgate: 'AAAA' } }))
      s3.destroy()
      const { code } = await rig.run('scan', '--config', 'sealgate.yaml', '--bucket', 'orders')
      if (code !== 4) throw new Error(`scan ended with ${code}`)
    },
    found: /^1 damaged object — bucket orders/
  },
  {
    name: 'store alters bytes',
    stage: async (rig) => {
      rig.store.rules.add({ when: { bucket: 'orders', method: 'GET', key: 'object 3' }, times: Infinity, fault: { type: 'flip', offset: 1000 } })
      await rig.traffic('orders')
    },
    found: /^\d+ reads? did not verify in the last hour — integrity/
  },
  { name: 'reload refused', stage: (rig) => rig.reload('listen: {'), found: /^The last reload was refused — configuration/ },
  {
    name: 'state bucket gone',
    stage: async (rig) => {
      await rig.traffic('orders')
      rig.store.rules.add({ when: { bucket: 'sealgate-state' }, times: Infinity, fault: { type: 'error', status: 404, code: 'NoSuchBucket' } })
    },
    found: /^The state bucket cannot be used — store default/
  }
]
