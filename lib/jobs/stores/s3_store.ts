import type { S3Client } from '@aws-sdk/client-s3';
import { optionalPackage } from '../optional_package.js';
import { checkStoreName, isOver } from './picture_names.js';
import { KEEP_SECONDS, sweepRegularly, type PictureStore } from './picture_store.js';

export interface S3StoreOptions {
  readonly bucket: string;
  /** What every key begins with, as in 'pictures/'. */
  readonly prefix?: string;
  /** Of a service other than Amazon's; AWS_ENDPOINT_URL says it too. Its buckets are addressed by path. */
  readonly endpoint?: string;
  readonly keepSeconds?: number;
}

/** Pictures in a bucket. Region and credentials are those that AWS' tools find: AWS_REGION, AWS_ACCESS_KEY_ID, ~/.aws, a role. */
export class S3Store implements PictureStore {
  private readonly timer: NodeJS.Timeout;

  private constructor(
    private readonly sdk: typeof import('@aws-sdk/client-s3'), private readonly client: S3Client, private readonly bucket: string,
    private readonly prefix: string, private readonly seconds: number,
  ) {
    this.timer = sweepRegularly(() => this.sweep(), seconds);
  }

  /** @throws Error of one line if the package is missing, or the bucket cannot be reached. */
  static async open({ bucket, prefix = '', endpoint, keepSeconds = KEEP_SECONDS }: S3StoreOptions): Promise<S3Store> {
    const sdk = await optionalPackage(() => import('@aws-sdk/client-s3'), '--store s3://', '@aws-sdk/client-s3');
    const other = endpoint ?? process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL;
    const client = new sdk.S3Client({
      ...other !== undefined && { endpoint: other, forcePathStyle: true, region: process.env.AWS_REGION ?? 'us-east-1' },
      requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED', // services may have none
    });
    try {
      await client.send(new sdk.HeadBucketCommand({ Bucket: bucket }));
    } catch (error) {
      const { name, message } = error as Error;
      throw new Error(`--store: the bucket ${bucket} cannot be used: ${message === 'UnknownError' ? name : message}`, { cause: error });
    }
    return new S3Store(sdk, client, bucket, prefix, keepSeconds);
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    await this.client.send(new this.sdk.PutObjectCommand({
      ...this.placeOf(name), Body: bytes, ContentType: name.endsWith('.png') ? 'image/png' : 'application/octet-stream',
    }));
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      const { Body } = await this.client.send(new this.sdk.GetObjectCommand(this.placeOf(name)));
      return await Body!.transformToByteArray();
    } catch (error) {
      if (error instanceof this.sdk.NoSuchKey) return undefined;
      throw error;
    }
  }

  async remove(name: string): Promise<void> {
    await this.client.send(new this.sdk.DeleteObjectCommand(this.placeOf(name)));
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.client.destroy();
  }

  /** Removes what is over. A lifecycle rule of the bucket does the same by days. */
  async sweep(): Promise<void> {
    const pages = this.sdk.paginateListObjectsV2({ client: this.client }, { Bucket: this.bucket, Prefix: this.prefix });
    for await (const { Contents = [] } of pages) {
      for (const { Key = '', LastModified } of Contents) {
        const name = Key.slice(this.prefix.length);
        if (LastModified && isOver(name, LastModified.getTime(), this.seconds)) await this.remove(name);
      }
    }
  }

  private placeOf(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: `${this.prefix}${checkStoreName(name)}` };
  }
}
