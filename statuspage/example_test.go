package statuspage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/statuspage"
)

func ExampleNew() {
	suite, err := interceptors.New()
	if err != nil {
		panic(err)
	}
	defer func() { _ = suite.Close() }()
	http.Handle("/astra/", statuspage.New(suite))

	w := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/astra/", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}

// Actions are there only if the program says who may use them.
func ExampleWithActions() {
	suite, err := interceptors.New()
	if err != nil {
		panic(err)
	}
	defer func() { _ = suite.Close() }()
	operators := map[string]bool{"ann": true}
	userOf := func(r *http.Request) string { return r.Header.Get("X-User") }

	page := statuspage.New(suite, statuspage.WithActions(func(r *http.Request) error {
		if !operators[userOf(r)] {
			return errors.New("operators only")
		}
		return nil
	}))

	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code)
	// Output: 200
}

// A button reads the policies again; four viewers are kept current.
func ExampleWithReload() {
	suite, err := interceptors.New()
	if err != nil {
		panic(err)
	}
	defer func() { _ = suite.Close() }()

	page := statuspage.New(suite,
		statuspage.WithTitle("orders"),
		statuspage.WithMaxViewers(4),
		statuspage.WithActions(func(*http.Request) error { return nil }), // behind the program's own authentication
		statuspage.WithReload(func(context.Context) error { return suite.Reload() }),
	)

	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "orders"))
	// Output: 200 true
}
