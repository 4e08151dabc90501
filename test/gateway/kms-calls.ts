import { Agent } from 'node:http'
import { parallel } from '../../src/concurrency/parallel.ts'
import { Bucket, type EncryptionRig } from './encryption-rig.ts'
import { presigned } from './presigned.ts'

/** Writes and reads as many objects. @returns the calls of the key service they cost. @throws Error for a wrong body. */
export async function callsForObjects({ gateway, kms }: EncryptionRig, objects: number): Promise<number> {
  const before = kms.calls.length
  const agent = new Agent({ keepAlive: true })
  await parallel(Array(objects).keys(), { limit: 8, signal: new AbortController().signal }, async (i) => {
    const path = `/${Bucket}/object/${i}`
    const put = await presigned(gateway, { method: 'PUT', path, body: `body ${i}`, agent })
    const got = await presigned(gateway, { method: 'GET', path, agent })
    if (put.status !== 200 || got.body.toString() !== `body ${i}`) throw new Error(`${path} came back as something else`)
  })
  agent.destroy()
  return kms.calls.length - before
}
