import { isDeepStrictEqual } from 'node:util'
import { isMap, type ConfigFault, type Tree } from './tree.ts'

/** Whether keys of a type open data keys of the S3 Encryption Client, and do nothing else. */
export function isS3ecType(type: unknown): boolean {
  return type === 's3ec-aes' || type === 's3ec-rsa'
}

/** What a bucket may say of objects of the S3 Encryption Client. The schema reports what has the wrong form. */
export function checkS3ec(path: string, { s3ec, encryption }: Tree, keys: Tree, faults: ConfigFault[]): void {
  if (!isMap(s3ec)) return
  if (encryption === 'off') faults.push({ path: `${path}.s3ec`, message: 'needs encryption: on' })
  const { read, commitment, write = null } = s3ec
  if (typeof write === 'string' && Array.isArray(read) && !read.includes(write)) {
    faults.push({ path: `${path}.s3ec.write`, message: `needs read to name ${write} too: what was written could not be read` })
  }
  if (commitment !== 'allow' && Array.isArray(read) && read.some((word) => word !== 'v3')) {
    faults.push({ path: `${path}.s3ec.commitment`, message: 'must be allow for all that read names beside v3: it does not commit to its data key' })
  }
  const names = Array.isArray(s3ec['keys']) ? s3ec['keys'].filter((name: unknown) => typeof name === 'string') : []
  const used = names.map((name) => [name, Object.hasOwn(keys, name) ? keys[name] : undefined] as const)
  const at = `${path}.s3ec.keys`
  for (const [i, [name, key]] of used.entries()) {
    if (key === undefined) faults.push({ path: at, message: `keys has no ${name}` })
    if (!isMap(key)) continue
    const { type, description = {} } = key
    if (type !== 'aws-kms' && !isS3ecType(type)) faults.push({ path: at, message: `${name} must be of type aws-kms, s3ec-aes or s3ec-rsa` })
    if (!isS3ecType(type)) continue
    const alike = used.slice(0, i).find(([, other]) => isMap(other) && other['type'] === type && isDeepStrictEqual(other['description'] ?? {}, description))
    if (alike !== undefined) faults.push({ path: at, message: `${name} has the description of ${alike[0]}: an object would not say which of them it needs` })
  }
}
