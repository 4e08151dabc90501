// A writer of objects of the S3 Encryption Client, made for the tests with Node's crypto alone: it shares no line with src/s3ec.
import { constants, createCipheriv, createHmac, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto'
import { HeaderList } from '../../src/http/message.ts'
import type { Wrap } from '../../src/s3ec/description.ts'

/** Keys of the writer: `kms` wraps data keys as the test's KMS does. */
export interface WriterKeys {
  readonly aes?: Buffer
  /** Public half. */
  readonly rsa?: KeyObject
  readonly kms?: (dataKey: Buffer, context: Readonly<Record<string, string>>) => Buffer | Promise<Buffer>
}

export interface Recipe {
  readonly version: 1 | 2 | 3
  readonly wrap: Wrap
  readonly cipher?: 'gcm' | 'cbc'
  readonly material?: Readonly<Record<string, string>>
  /** false: without `x-amz-unencrypted-content-length`. */
  readonly noted?: boolean
  readonly dataKey?: Buffer
}

export interface Written {
  /** Of the object, without prefix. */
  readonly metadata: Record<string, string>
  readonly body: Buffer
}

const v3Codes: Partial<Record<Wrap, string>> = { 'AES/GCM': '02', 'kms+context': '12', 'RSA-OAEP-SHA1': '22' }

function expand(prk: Buffer, info: Buffer, length: number): Buffer {
  return createHmac('sha512', prk).update(info).update(Buffer.from([1])).digest().subarray(0, length)
}

async function wrapped(recipe: Recipe, keys: WriterKeys, dataKey: Buffer, context: Record<string, string>): Promise<Buffer> {
  const text = recipe.version === 3 ? '115' : 'AES/GCM/NoPadding'
  const aes = keys.aes ?? Buffer.alloc(0)
  const rsa = (padding: number, message: Buffer, oaepHash = 'sha1'): Buffer => {
    if (keys.rsa === undefined) throw new TypeError('no RSA key')
    return publicEncrypt({ key: keys.rsa, padding, oaepHash }, message)
  }
  switch (recipe.wrap) {
    case 'kms':
    case 'kms+context':
      return keys.kms?.(dataKey, context) ?? Buffer.concat([Buffer.from('kms'), dataKey])
    case 'AES/GCM': {
      const iv = randomBytes(12)
      const cipher = createCipheriv(`aes-${aes.length * 8}-gcm` as 'aes-256-gcm', aes, iv, { authTagLength: 16 })
      cipher.setAAD(Buffer.from(text))
      const sealed = Buffer.concat([cipher.update(dataKey), cipher.final()])
      return Buffer.concat([iv, sealed, cipher.getAuthTag()])
    }
    case 'AESWrap': {
      const cipher = createCipheriv(`id-aes${aes.length * 8}-wrap`, aes, Buffer.alloc(8, 0xa6), {})
      return Buffer.concat([cipher.update(dataKey), cipher.final()])
    }
    case 'AES': {
      const cipher = createCipheriv(`aes-${aes.length * 8}-ecb`, aes, null, {})
      return Buffer.concat([cipher.update(dataKey), cipher.final()])
    }
    case 'RSA-OAEP-SHA1':
      return rsa(constants.RSA_PKCS1_OAEP_PADDING, Buffer.concat([Buffer.from([dataKey.length]), dataKey, Buffer.from(text)]))
    case 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding':
      return rsa(constants.RSA_PKCS1_OAEP_PADDING, dataKey, 'sha256')
    case 'RSA':
      return rsa(constants.RSA_PKCS1_PADDING, dataKey)
  }
}

function gcm(key: Buffer, iv: Buffer, aad: Buffer | null, plaintext: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: 16 })
  if (aad !== null) cipher.setAAD(aad)
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** As a header carries it: a latin1 character is a byte. */
function json(material: Readonly<Record<string, string>>): string {
  return Buffer.from(JSON.stringify(material)).toString('latin1')
}

/** One object as a client of that version writes it. */
export async function write(plaintext: Buffer, recipe: Recipe, keys: WriterKeys): Promise<Written> {
  const dataKey = Buffer.from(recipe.dataKey ?? randomBytes(32))
  const cipher = recipe.cipher ?? (recipe.version === 1 ? 'cbc' : 'gcm')
  const named = recipe.version === 3 ? '115' : cipher === 'gcm' ? 'AES/GCM/NoPadding' : 'AES/CBC/PKCS5Padding'
  const material = recipe.wrap === 'kms+context' ? { ...recipe.material, 'aws:x-amz-cek-alg': named } : { ...recipe.material }
  const blob = (await wrapped(recipe, keys, dataKey, material)).toString('base64')
  const length = recipe.noted === false || recipe.version === 3 ? {} : { 'x-amz-unencrypted-content-length': String(plaintext.length) }
  if (recipe.version === 3) {
    const messageId = randomBytes(28)
    const prk = createHmac('sha512', messageId).update(dataKey).digest()
    const suite = Buffer.from('0073', 'hex')
    const key = expand(prk, Buffer.concat([suite, Buffer.from('DERIVEKEY')]), 32)
    const commitment = expand(prk, Buffer.concat([suite, Buffer.from('COMMITKEY')]), 28)
    return {
      metadata: {
        'x-amz-c': '115',
        'x-amz-3': blob,
        'x-amz-w': v3Codes[recipe.wrap] ?? '',
        'x-amz-d': commitment.toString('base64'),
        'x-amz-i': messageId.toString('base64'),
        [recipe.wrap === 'kms+context' ? 'x-amz-t' : 'x-amz-m']: json(material)
      },
      body: gcm(key, Buffer.alloc(12, 1), suite, plaintext)
    }
  }
  const iv = randomBytes(cipher === 'gcm' ? 12 : 16)
  const cbc = createCipheriv('aes-256-cbc', dataKey, iv.length === 16 ? iv : Buffer.alloc(16), {})
  const body = cipher === 'gcm' ? gcm(dataKey, iv, null, plaintext) : Buffer.concat([cbc.update(plaintext), cbc.final()])
  const both = { 'x-amz-iv': iv.toString('base64'), 'x-amz-matdesc': json(material), ...length }
  if (recipe.version === 1) return { metadata: { 'x-amz-key': blob, ...both }, body }
  return {
    metadata: {
      'x-amz-key-v2': blob,
      ...both,
      'x-amz-wrap-alg': recipe.wrap,
      'x-amz-cek-alg': named,
      ...cipher === 'gcm' ? { 'x-amz-tag-len': '128' } : {}
    },
    body
  }
}

/** What of an object goes into its instruction file, and what stays. */
export function withInstructionFile({ metadata, body }: Written): { readonly file: Buffer; readonly object: Written } {
  const stays = new Set(['x-amz-c', 'x-amz-d', 'x-amz-i', 'x-amz-unencrypted-content-length'])
  const split = (inside: boolean) => Object.fromEntries(Object.entries(metadata).filter(([name]) => stays.has(name) !== inside))
  return { file: Buffer.from(JSON.stringify(split(true)), 'latin1'), object: { metadata: split(false), body } }
}

/** As the store returns it. */
export function headersOf(metadata: Readonly<Record<string, string>>): HeaderList {
  return new HeaderList(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value] as const))
}

/** Every kind of object, except for the key of KMS by what it is wrapped. */
export const recipes: readonly Recipe[] = [
  { version: 1, wrap: 'AES' },
  { version: 1, wrap: 'AES', noted: false, material: { name: 'old' } },
  { version: 1, wrap: 'RSA' },
  { version: 2, wrap: 'AES/GCM' },
  { version: 2, wrap: 'RSA-OAEP-SHA1', noted: false, material: { name: 'ü', region: 'eu' } },
  { version: 2, wrap: 'kms+context', material: { tenant: 'a' } },
  { version: 2, wrap: 'kms', material: { kms_cmk_id: 'arn:aws:kms:eu-west-1:111122223333:key/x' } },
  { version: 2, wrap: 'AESWrap' },
  { version: 2, wrap: 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding' },
  { version: 2, wrap: 'kms', cipher: 'cbc', material: { kms_cmk_id: 'x' } },
  { version: 2, wrap: 'AESWrap', cipher: 'cbc', noted: false },
  { version: 2, wrap: 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding', cipher: 'cbc' },
  { version: 3, wrap: 'AES/GCM', material: { name: 'new' } },
  { version: 3, wrap: 'RSA-OAEP-SHA1' },
  { version: 3, wrap: 'kms+context' }
]
