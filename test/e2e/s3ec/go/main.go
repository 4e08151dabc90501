// The S3 Encryption Client for Go, version 3, as a program: see clients.ts for the jobs and the environment.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/amazon-s3-encryption-client-go/v3/client"
	"github.com/aws/amazon-s3-encryption-client-go/v3/materials"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var encryptionContext = map[string]string{"purpose": "test", "team": "blue, green"}

func open(ctx context.Context) (*client.S3EncryptionClientV3, error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	plain := s3.NewFromConfig(settings, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(os.Getenv("S3EC_STORE"))
		o.UsePathStyle = true
	})
	keys := kms.NewFromConfig(settings, func(o *kms.Options) { o.BaseEndpoint = aws.String(os.Getenv("S3EC_KMS")) })
	keyring := materials.NewKmsKeyring(keys, os.Getenv("S3EC_KMS_KEY"), func(o *materials.KeyringOptions) { o.EnableLegacyWrappingAlgorithms = true })
	manager, err := materials.NewCryptographicMaterialsManager(keyring)
	if err != nil {
		return nil, err
	}
	return client.New(plain, manager, func(o *client.EncryptionClientOptions) { o.EnableLegacyUnauthenticatedModes = true })
}

func job(ctx context.Context, s *client.S3EncryptionClientV3, operation, mode, bucket, key, name string) error {
	if strings.Contains(mode, "+context") {
		ctx = context.WithValue(ctx, client.EncryptionContext, encryptionContext)
	}
	if operation == "get" {
		got, err := s.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return err
		}
		defer got.Body.Close()
		file, err := os.Create(name)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(file, got.Body)
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = s.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: file, ContentType: aws.String("text/x-test"), Metadata: map[string]string{"of": "the client"}})
	return err
}

func main() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		if words[0] == "modes" {
			fmt.Println("v2-kms\tv2-kms+context")
			continue
		}
		if err := job(ctx, s, words[0], words[1], words[2], words[3], words[4]); err != nil {
			fmt.Println("failed: " + strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}
