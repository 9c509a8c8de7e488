// Package connect makes the connection that the client and the worker call through.
package connect

import (
	_ "embed"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

//go:embed service_config.json
var serviceConfig string

const maxState = 64 << 20 // a state may be larger than the 4 MiB that gRPC takes unless told otherwise

// DefaultAddress is $DOUBLETEXT_SERVER, or where the server listens unless told otherwise.
func DefaultAddress() string {
	if address := os.Getenv("DOUBLETEXT_SERVER"); address != "" {
		return address
	}
	return "127.0.0.1:50051"
}

// To connects to the server, with the retry policy that the protos come with.
func To(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxState)),
	)
}
