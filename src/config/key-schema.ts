import { z } from 'zod'
import type { KeyConfig } from './config.ts'
import { conceal } from './conceal.ts'

/** Kinds of value that depend on where the configuration is. */
interface SourcedTypes {
  /** A path, from the directory of the configuration file. */
  readonly path: z.ZodType<string>
  /** A text, or the file or variable that has it. */
  readonly secret: z.ZodType<string>
}

export const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"')

const arn = z.string().regex(
  /^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/,
  'must be the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias'
)

function local({ path }: SourcedTypes) {
  return z.strictObject({ type: z.literal('local'), keyring: path })
}

function awsKms({ secret }: SourcedTypes) {
  return z.strictObject({
    type: z.literal('aws-kms'),
    arn: arn,
    decryptOnly: z.array(arn).default([]),
    aliases: z.array(z.string().regex(/^alias\/[A-Za-z0-9/_-]+$/, 'must be alias/NAME')).default([]),
    region: z.string().min(1).nullable().default(null),
    endpoint: z.string().refine(isOrigin, 'must be http://HOST[:PORT] or https://HOST[:PORT]').nullable().default(null),
    accessKeyId: secret.optional(),
    secretAccessKey: secret.optional(),
    sessionToken: secret.nullable().default(null),
    credentials: z.literal('aws').optional()
  })
}

/** The options of every kind of key. What a kind is, `kinds` of keys/configured-key.ts says. */
export function keySchema(types: SourcedTypes) {
  return z.discriminatedUnion('type', [local(types), awsKms(types)], { error: 'must be local or aws-kms' })
}

/** The options of a key as the rest of the program has them. */
export function keyConfig(key: z.output<ReturnType<typeof keySchema>>): KeyConfig {
  switch (key.type) {
    case 'local':
      return key
    case 'aws-kms': {
      const { accessKeyId, secretAccessKey, sessionToken, credentials, ...rest } = key
      const given = credentials === undefined && accessKeyId !== undefined && secretAccessKey !== undefined
      return { ...rest, credentials: given ? conceal({ accessKeyId, secretAccessKey, sessionToken }) : 'aws' }
    }
  }
}

export function isOrigin(text: string): boolean {
  if (!/^https?:\/\/[^/?#@]+\/?$/.test(text)) return false
  return URL.canParse(text)
}
