import { S3Error } from '../../errors.ts'

const keyArn = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[A-Za-z0-9-]+$/

/** AWS KMS developer guide, "Multi-Region keys in AWS KMS": their ids begin with `mrk-`, and one id in several regions is one key. */
export function isMultiRegion(arn: string): boolean {
  return keyArn.test(arn) && arn.includes(':key/mrk-')
}

/** The ARN of the same key id in another region. */
export function inRegion(arn: string, region: string): string {
  return arn.split(':').with(3, region).join(':')
}

/** @throws S3Error InvalidArgument for anything but the ARN of a KMS key. */
export function regionOf(arn: string): string {
  const region = keyArn.exec(arn)?.[1]
  if (region === undefined) throw new S3Error('InvalidArgument', { message: `${arn} is not the ARN of a KMS key.` })
  return region
}
